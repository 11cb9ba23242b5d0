-- KEYS: epoch. Answer: 1 if claims are answered now.

local opens = redis.call('HGET', KEYS[1], 'opens')
return opens and now() >= tonumber(opens) and 1 or 0
