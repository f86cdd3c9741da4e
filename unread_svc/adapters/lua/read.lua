-- Reads a window above a seq (hop 8). By score, never by rank: a rank is nil for a recalled or unknown cursor.
-- KEYS: window, meta (as in observe.lua). ARGV: after_seq.
-- Returns epoch, head, floor, size, then the members above after_seq; nothing when a part of the window is lost.
local known = redis.call('HMGET', KEYS[2], 'epoch', 'head', 'floor', 'size')
if not known[1] or tonumber(known[4]) ~= redis.call('ZCARD', KEYS[1]) then
  return {}
end
local answer = { known[1], known[2], known[3], known[4] }
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf')) do
  answer[#answer + 1] = member
end
return answer
