-- Applies one observation (hop 5b).
-- KEYS: window (ZSET, member "seq:sender", score seq), meta (HASH epoch, head, floor, size).
-- ARGV: bound, lifetime in seconds, epoch, prev_seq, head_seq, number of added, then seq and sender of each, then removed seqs.
-- Numbers go in and out as the caller's strings: Lua would write large ones with an exponent.
local window, meta = KEYS[1], KEYS[2]
local bound = tonumber(ARGV[1])
local lifetime_seconds = ARGV[2]
local epoch, prev_seq, head_seq = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local added = tonumber(ARGV[6])

local known = redis.call('HMGET', meta, 'epoch', 'head', 'floor', 'size')
local known_epoch, known_head, known_size = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[4] or 0)
local floor = known[3] or '0'
local whole = known[1] and known_size == redis.call('ZCARD', window)

local outcome = 'advanced'
if not whole then
  outcome = 'started'
elseif epoch < known_epoch then
  return 'old_epoch'
elseif epoch > known_epoch or prev_seq > known_head then
  outcome = 'gap'
elseif head_seq <= known_head then
  outcome = 'repeated'
end

if outcome == 'started' or outcome == 'gap' then
  redis.call('DEL', window, meta)
  known_head = prev_seq
  floor = ARGV[4]
end

-- What lies at or below the known head was seen before: adding it again could bring back what was recalled since.
for i = 7, 6 + 2 * added, 2 do
  local seq = tonumber(ARGV[i])
  if seq > known_head and seq <= head_seq then
    redis.call('ZADD', window, ARGV[i], ARGV[i] .. ':' .. ARGV[i + 1])
  end
end
-- A recall is for ever, so that it applies whenever it comes.
for i = 7 + 2 * added, #ARGV do
  redis.call('ZREMRANGEBYSCORE', window, ARGV[i], ARGV[i])
end

local size = redis.call('ZCARD', window)
if size > bound then
  local last = redis.call('ZRANGE', window, size - bound - 1, size - bound - 1)[1]
  local dropped = string.match(last, '^(%d+):')
  if tonumber(dropped) > tonumber(floor) then
    floor = dropped
  end
  redis.call('ZREMRANGEBYRANK', window, 0, size - bound - 1)
  size = bound
end

local head = ARGV[5]
if outcome == 'repeated' then
  head = known[2]
end
redis.call('HSET', meta, 'epoch', ARGV[3], 'head', head, 'floor', floor, 'size', size)
redis.call('EXPIRE', window, lifetime_seconds)
redis.call('EXPIRE', meta, lifetime_seconds)
return outcome
