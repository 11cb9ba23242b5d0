-- KEYS: epoch, claim, mark of revocation, and the assertion if there is one.
-- ARGV: epoch's id, the code's issue time, skew, attempt, ttl, the assertion's ttl.

local epoch = redis.call('HMGET', KEYS[1], 'id', 'since', 'lost', 'opens')
if epoch[1] ~= ARGV[1] then return { 'epoch' } end
if now() < tonumber(epoch[4]) then return { 'closed' } end

local attempt = ARGV[4]
local claim = redis.call('GET', KEYS[2])
if claim == 'busy ' .. attempt then return { 'granted' } end
local is_young = tonumber(ARGV[2]) < tonumber(epoch[2]) + tonumber(ARGV[3])
if not claim and epoch[3] == '1' and is_young then return { 'lost' } end
local is_revoked = redis.call('EXISTS', KEYS[3]) == 1

if not spend(KEYS[4], attempt, ARGV[6]) then return { 'used' } end
if claim then return { string.sub(claim, 1, 4) } end
if is_revoked then return { 'done' } end
redis.call('SET', KEYS[2], 'busy ' .. attempt, 'PX', ARGV[5])
return { 'granted' }
