-- Removes one route, unless it was written by a later version than what is swept.
-- KEYS: routes of the group. ARGV: edge_id, lowest version that stays.
-- Returns how many were removed.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then
  return 0
end
local version = string.match(held, '^%d+:(%d+):')
if tonumber(version) >= tonumber(ARGV[2]) then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
