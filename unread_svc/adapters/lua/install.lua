-- Replaces a window by a rebuilt one, unless it has a newer head of the same epoch already (hop 8).
-- KEYS: window, meta (as in observe.lua).
-- ARGV: lifetime in seconds, epoch, head_seq, floor_seq, then seq and sender of each entry.
local window, meta = KEYS[1], KEYS[2]
local known = redis.call('HMGET', meta, 'epoch', 'head', 'size')
if known[1] and tonumber(known[1]) == tonumber(ARGV[2]) and tonumber(known[2]) > tonumber(ARGV[3])
   and tonumber(known[3]) == redis.call('ZCARD', window) then
  return 0
end
redis.call('DEL', window, meta)
local size = 0
for i = 5, #ARGV, 2 do
  redis.call('ZADD', window, ARGV[i], ARGV[i] .. ':' .. ARGV[i + 1])
  size = size + 1
end
redis.call('HSET', meta, 'epoch', ARGV[2], 'head', ARGV[3], 'floor', ARGV[4], 'size', size)
redis.call('EXPIRE', window, ARGV[1])
redis.call('EXPIRE', meta, ARGV[1])
return 1
