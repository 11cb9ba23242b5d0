-- Stands before every script. The time is the store's own, so replicas need not agree on it.

local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A number as all its digits: tostring would round large ones.
local function digits(number)
  return string.format('%.0f', number)
end

-- Remembers who used a client assertion; false if another did before. No key: no assertion.
local function spend(key, by, ttl)
  if not key then return true end
  local user = redis.call('GET', key)
  if user then return user == by end
  redis.call('SET', key, by, 'PX', ttl)
  return true
end

-- The last four tokens before the previous one: a field of the record for each, short enough that
-- the record stays compact: generation, token, when it was superseded, end of its grace.
local function older_field(generation)
  return 'o' .. digits(generation % 4)
end

local function older_parts(text)
  return string.match(text or '', '^(%d+) (%S+) (%d+) (%d+)$')
end

-- Lets a key live for at least so long.
local function extend(key, ttl)
  if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
end

-- Ends a grant. `at` has the keys: mark, record and memo of the grant; log, ends and count of all
-- revocations. False if there is no room.
local function revoke(at, grant, ttl, capacity)
  local time = now()
  local ends = time + tonumber(ttl)
  local known = redis.call('GET', at.mark)
  if not known then
    local over = redis.call('ZRANGEBYSCORE', at.ends, '-inf', digits(time), 'LIMIT', 0, 100)
    for _, grant_over in ipairs(over) do
      redis.call('ZREM', at.log, grant_over)
      redis.call('ZREM', at.ends, grant_over)
    end
    if redis.call('ZCARD', at.log) >= tonumber(capacity) then return false end
  end
  if not known or tonumber(known) < ends then
    redis.call('SET', at.mark, digits(ends), 'PX', ttl)
    redis.call('ZADD', at.log, redis.call('INCR', at.count), grant)
    redis.call('ZADD', at.ends, digits(ends), grant)
  end
  redis.call('DEL', at.record, at.memo)
  return true
end
