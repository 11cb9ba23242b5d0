-- KEYS: mark, record, memo. ARGV: lease, generation, token, memo, grace, ttl.

local mark, record, memo = KEYS[1], KEYS[2], KEYS[3]
local lease, generation, token, grace = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[5])
local time = now()

if redis.call('EXISTS', mark) == 1 then return { 'revoked' } end
local known = redis.call('HMGET', record, 'g', 'c', 'l', 'lq')
if not known[1] then return { 'lost' } end
local current = tonumber(known[1])
-- The answer to this very commit was lost.
if current == generation and known[2] == token then return { 'committed' } end
-- A lease past its time is still held until another takes it.
if known[3] ~= lease or generation <= current then return { 'lost' } end

redis.call('HSET', record, 'g', ARGV[2], 'c', token, 'pg', known[1], 'p', known[2],
  't', digits(time), 'e', digits(time + grace), 'q', known[4], 'u', '0')
redis.call('HDEL', record, 'l', 'le', 'lq')
if grace > 0 then
  redis.call('SET', memo, ARGV[4], 'PX', ARGV[5])
else
  redis.call('DEL', memo)
end
extend(record, ARGV[6])
return { 'committed' }
