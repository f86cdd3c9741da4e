-- Notes in an edge's own index which groups it holds, with the version of the route; also a sign of life.
-- KEYS: edge record, edge's index of groups.
-- ARGV: incarnation, session, ttl_ms, version, number of groups held, those groups, then groups no longer held.
-- Returns 'current', 'missing' or 'superseded' (then nothing was noted).
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'session')
if not known[1] then
  return 'missing'
end
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then
  return 'superseded'
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local last_held = 5 + tonumber(ARGV[5])
for i = 6, last_held do
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[i])
end
for i = last_held + 1, #ARGV do
  redis.call('ZREM', KEYS[2], ARGV[i])
end
return 'current'
