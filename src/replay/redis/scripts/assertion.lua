-- KEYS: the assertion. ARGV: who uses it, ttl. Answer: 1 if nobody else did.

return spend(KEYS[1], ARGV[1], ARGV[2]) and 1 or 0
