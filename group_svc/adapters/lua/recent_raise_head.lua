-- Raises the head of one group without its messages.
--
-- KEYS as in recent_put.lua; ARGV: epoch, seq, ttl_seconds. An older epoch or seq changes nothing; a newer epoch empties the range.

local epoch, seq, ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local known = redis.call('HMGET', KEYS[2], 'epoch', 'seq')
local known_epoch = tonumber(known[1] or 0)

if epoch < known_epoch or (epoch == known_epoch and seq <= tonumber(known[2])) then
  return 0
end
if epoch > known_epoch then
  redis.call('DEL', KEYS[1], KEYS[3])
  redis.call('HSET', KEYS[2], 'floor', '0', 'top', '0', 'bytes', '0')
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1], 'seq', ARGV[2])
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, ttl)
end
return 1
