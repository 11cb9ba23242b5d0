-- Run on every connect: is this the store that we knew, with all that it knew?
-- KEYS: epoch. ARGV: the epoch that we knew or '', the server or '', a new id, our time of day.
-- Answer: the epoch's id.

local known, server, id, clock = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = now()
local epoch = redis.call('HMGET', KEYS[1], 'id', 'server')

local function begin(lost, opens)
  -- The later of two clocks: refusing a code too many is the safe side.
  local since = math.max(math.floor(time / 1000), clock)
  redis.call('HSET', KEYS[1], 'id', id, 'server', server, 'since', digits(since),
    'lost', lost, 'opens', digits(opens))
  return { id }
end

if not epoch[1] then
  if known ~= '' then return begin('1', time) end
  -- New to us and empty. If it was not empty before, a replica that knew it notices within its
  -- next look, and says so, before the first claim is answered.
  return begin('0', time + 4000)
end
if server ~= '' and epoch[2] ~= '' and epoch[2] ~= server then
  -- A restart or a failover: the last writes may be missing.
  return begin('1', time)
end
if epoch[2] == '' then redis.call('HSET', KEYS[1], 'server', server) end
if known ~= '' and known ~= epoch[1] then redis.call('HSET', KEYS[1], 'lost', '1') end
return { epoch[1] }
