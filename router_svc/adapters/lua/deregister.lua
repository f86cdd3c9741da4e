-- Removes an edge that said good-bye.
-- KEYS: edge record. ARGV: channel, edge_id, incarnation, session.
-- Returns 'current' (removed), 'missing' or 'superseded'.
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'session')
if not known[1] then
  return 'missing'
end
if known[1] ~= ARGV[3] or known[2] ~= ARGV[4] then
  return 'superseded'
end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], cjson.encode({kind = 'gone', edge_id = ARGV[2], incarnation = ARGV[3]}))
return 'current'
