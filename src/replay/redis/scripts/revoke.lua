-- KEYS: mark, record, memo; log, ends, count of revocations. ARGV: grant, ttl, capacity.
-- Answer: 1, or 0 if there is no room.

local at = {
  mark = KEYS[1], record = KEYS[2], memo = KEYS[3],
  log = KEYS[4], ends = KEYS[5], count = KEYS[6],
}
return revoke(at, ARGV[1], ARGV[2], ARGV[3]) and 1 or 0
