-- KEYS: claim. ARGV: attempt. Answer: 1 if the attempt held the claim.

if redis.call('GET', KEYS[1]) ~= 'busy ' .. ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
