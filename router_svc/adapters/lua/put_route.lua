-- Writes one route, unless a newer one of the same edge stands there.
-- KEYS: routes of the group. ARGV: edge_id, incarnation, version, connections (0: remove).
-- Returns 1 when it stands now, 0 when a newer one does.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local incarnation, version = string.match(held, '^(%d+):(%d+):')
  incarnation, version = tonumber(incarnation), tonumber(version)
  if incarnation > tonumber(ARGV[2]) or (incarnation == tonumber(ARGV[2]) and version > tonumber(ARGV[3])) then
    return 0
  end
end
if ARGV[4] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ':' .. ARGV[3] .. ':' .. ARGV[4])
end
return 1
