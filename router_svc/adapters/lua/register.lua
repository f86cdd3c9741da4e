-- Begins a session of an edge.
-- KEYS: edge record, edge's orders. ARGV: channel, edge_id, incarnation, address, public_url, weight, ttl_ms.
-- Returns {1, session} or {0, incarnation that is alive} when that one is newer.
local incarnation = tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[1], 'incarnation', 'session')
local alive = tonumber(known[1] or '0')
if alive > incarnation then
  return {0, string.format('%.0f', alive)}
end
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- The clock makes sessions rise even when the record was lost in between; the +1, when the clock went back.
local session = string.format('%.0f', math.max(now_us, tonumber(known[2] or '0') + 1))
if alive ~= incarnation then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'connections', '0', 'cpu_share', '0', 'fanout_lag_ms', '0', 'draining', '0',
    'serving_since', string.format('%.0f', math.floor(now_us / 1000)))
end
redis.call('HSET', KEYS[1], 'incarnation', ARGV[3], 'session', session, 'address', ARGV[4], 'public_url', ARGV[5],
  'weight', ARGV[6], 'reported_at', string.format('%.0f', math.floor(now_us / 1000)))
redis.call('PEXPIRE', KEYS[1], ARGV[7])
tell_edge(KEYS[2])
return {1, session}
