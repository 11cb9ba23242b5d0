-- What was revoked since we last looked.
-- KEYS: epoch, log, ends of revocations. ARGV: the number that we have seen, how many at most.
-- Answer: the epoch's id, then of each revocation its number, its grant, its rest of life (ms).

local time = now()
local answer = { redis.call('HGET', KEYS[1], 'id') or '' }
local log = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES',
  'LIMIT', 0, tonumber(ARGV[2]))
for place = 1, #log, 2 do
  local ends = tonumber(redis.call('ZSCORE', KEYS[3], log[place]) or 0)
  table.insert(answer, log[place + 1])
  table.insert(answer, log[place])
  table.insert(answer, digits(math.max(ends - time, 0)))
end
return answer
