-- Refreshes an edge's record and tells it to all replicas.
-- KEYS: edge record, edge's index of groups, edge's orders.
-- ARGV: channel, edge_id, incarnation, session, ttl_ms, connections, cpu_share, fanout_lag_ms, draining, max_connections,
--   life of the orders in ms.
-- Returns {standing, groups}; standing: 'current', 'missing' or 'superseded'.
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'session', 'draining')
if not known[1] then
  return {'missing', 0}
end
if known[1] ~= ARGV[3] or known[2] ~= ARGV[4] then
  return {'superseded', 0}
end
local time = redis.call('TIME')
local now_ms = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('HSET', KEYS[1], 'connections', ARGV[6], 'cpu_share', ARGV[7], 'fanout_lag_ms', ARGV[8], 'draining', ARGV[9],
  'max_connections', ARGV[10], 'reported_at', now_ms)
if known[3] == '1' and ARGV[9] == '0' then
  redis.call('HSET', KEYS[1], 'serving_since', now_ms)
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[3], ARGV[11])
tell_edge(KEYS[3])
return {'current', redis.call('ZCARD', KEYS[2])}
