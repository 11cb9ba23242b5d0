-- KEYS: mark, record, memo; log, ends, count of revocations; the assertion if there is one.
-- ARGV: grant, generation, token, request, lease, lease's ttl, grace, uses, ttl, the assertion's
-- ttl, capacity.
--
-- The record: g and c the current generation and token; pg and p the previous ones, t when they
-- were superseded, e the end of their grace, q their request, u how often they were answered again;
-- o0 to o3 the tokens before that, each through its own grace;
-- l, le, lq the lease, its end and its request.

local mark, record, memo = KEYS[1], KEYS[2], KEYS[3]
local grant, generation, token, request = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local lease, grace, ttl = ARGV[5], tonumber(ARGV[7]), ARGV[9]
local time = now()

if redis.call('EXISTS', mark) == 1 then return { 'revoked' } end
local known = redis.call('HMGET', record, 'g', 'c', 'l', 'le', 'pg', 'p', 't', 'e', 'q', 'u',
  older_field(generation))
local current = known[1] and tonumber(known[1])
local is_current = current == generation and known[2] == token
if is_current and known[3] == lease then return { 'lead' } end
if not spend(KEYS[7], lease, ARGV[10]) then return { 'used' } end

local function lead()
  redis.call('HSET', record, 'l', lease, 'le', digits(time + tonumber(ARGV[6])), 'lq', request)
  extend(record, ttl)
  return { 'lead' }
end

local function ended(why)
  local at = {
    mark = mark, record = record, memo = memo, log = KEYS[4], ends = KEYS[5], count = KEYS[6],
  }
  if not revoke(at, grant, ttl, ARGV[11]) then return { 'full' } end
  return { why }
end

if not current or generation > current then
  redis.call('HDEL', record, 'pg', 'p', 't', 'e', 'q', 'u', 'o0', 'o1', 'o2', 'o3')
  redis.call('DEL', memo)
  redis.call('HSET', record, 'g', ARGV[2], 'c', token)
  return lead()
end
if generation == current then
  if not is_current then return ended('fork') end
  if known[3] and time < tonumber(known[4]) then return { 'wait' } end
  return lead()
end
if not known[5] then return ended('reuse') end
if tonumber(known[5]) ~= generation then
  local older, older_token, since, ends = older_parts(known[11])
  if not older or tonumber(older) ~= generation then return ended('reuse') end
  if time >= math.min(tonumber(ends), tonumber(since) + grace) then return ended('reuse') end
  if older_token ~= token then return ended('fork') end
  return { 'superseded' }
end
if known[6] ~= token then return ended('fork') end
if time >= math.min(tonumber(known[8]), tonumber(known[7]) + grace) then return ended('reuse') end
if known[9] ~= request then return { 'other' } end
if tonumber(known[10]) >= tonumber(ARGV[8]) then return { 'often' } end
local answer = redis.call('GET', memo)
if not answer then return { 'memo' } end
redis.call('HINCRBY', record, 'u', 1)
return { 'repeat', answer }
