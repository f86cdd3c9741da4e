-- Notes what an operator orders of an edge that is alive, and tells it to all replicas.
-- KEYS: edge record, edge's orders.
-- ARGV: channel, edge_id, 'weight' or 'drain' or 'serve', weight (0: none) or window_ms, life of the orders in ms.
-- Returns 1, or 0 when no such edge is alive.
local incarnation = redis.call('HGET', KEYS[1], 'incarnation')
if not incarnation then
  return 0
end
if ARGV[3] == 'weight' then
  redis.call('HSET', KEYS[2], 'ordered_weight', ARGV[4])
else
  local drain = ARGV[3] == 'drain' and '1' or '0'
  local known = redis.call('HMGET', KEYS[2], 'drain_id', 'drain', 'drain_incarnation', 'drain_window_ms')
  -- The same order again, by a caller who did not hear the answer, is the one that stands; unless the edge was told otherwise directly.
  local astray = drain == '0' and redis.call('HGET', KEYS[1], 'draining') == '1'
  if astray or known[2] ~= drain or known[3] ~= incarnation or known[4] ~= ARGV[4] then
    local time = redis.call('TIME')
    local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
    redis.call('HSET', KEYS[2], 'drain_id', string.format('%.0f', math.max(now_us, tonumber(known[1] or '0') + 1)),
      'drain', drain, 'drain_incarnation', incarnation, 'drain_window_ms', ARGV[4])
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
tell_edge(KEYS[2])
return 1
