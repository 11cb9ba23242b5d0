-- KEYS: claim. ARGV: attempt. Answer: 1 if the attempt is done.

local claim = redis.call('GET', KEYS[1])
if claim == 'done ' .. ARGV[1] then return 1 end
if claim ~= 'busy ' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done ' .. ARGV[1], 'KEEPTTL')
return 1
