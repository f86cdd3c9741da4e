-- Refreshes an edge's record and tells it to all replicas.
-- KEYS: edge record, edge's index of groups.
-- ARGV: channel, edge_id, incarnation, session, ttl_ms, connections, cpu_share, fanout_lag_ms, draining.
-- Returns {standing, groups}; standing: 'current', 'missing' or 'superseded'.
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'session')
if not known[1] then
  return {'missing', 0}
end
if known[1] ~= ARGV[3] or known[2] ~= ARGV[4] then
  return {'superseded', 0}
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'connections', ARGV[6], 'cpu_share', ARGV[7], 'fanout_lag_ms', ARGV[8], 'draining', ARGV[9],
  'reported_at', string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local record = {kind = 'edge', edge_id = ARGV[2]}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  record[fields[i]] = fields[i + 1]
end
redis.call('PUBLISH', ARGV[1], cjson.encode(record))
return {'current', redis.call('ZCARD', KEYS[2])}
