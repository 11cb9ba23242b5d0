-- KEYS: record. ARGV: lease. Answer: 1 if the lease was held.

if redis.call('HGET', KEYS[1], 'l') ~= ARGV[1] then return 0 end
redis.call('HDEL', KEYS[1], 'l', 'le', 'lq')
return 1
