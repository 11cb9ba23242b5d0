-- KEYS: mark, record, memo. ARGV: lease, generation, token, memo, grace, ttl.

local mark, record, memo = KEYS[1], KEYS[2], KEYS[3]
local lease, generation, token, grace = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[5])
local time = now()

if redis.call('EXISTS', mark) == 1 then return { 'revoked' } end
local known = redis.call('HMGET', record, 'g', 'c', 'l', 'lq', 'pg', 'p', 't', 'e')
if not known[1] then return { 'lost' } end
local current = tonumber(known[1])
-- The answer to this very commit was lost.
if current == generation and known[2] == token then return { 'committed' } end
-- A lease past its time is still held until another takes it.
if known[3] ~= lease or generation <= current then return { 'lost' } end

-- What stays known of the tokens before: four at most, each through its own grace.
for slot = 0, 3 do
  local field = older_field(slot)
  local _, _, _, ends = older_parts(redis.call('HGET', record, field))
  if ends and tonumber(ends) <= time then redis.call('HDEL', record, field) end
end
if known[5] and tonumber(known[8]) > time then
  local older = table.concat({ known[5], known[6], known[7], known[8] }, ' ')
  redis.call('HSET', record, older_field(tonumber(known[5])), older)
end

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
