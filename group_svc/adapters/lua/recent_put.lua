-- Adds consecutive messages to the recent messages of one group.
--
-- KEYS[1] throng:group:recent:{g}    ZSET score = seq, member = packed message; complete from floor to top
-- KEYS[2] throng:group:head:{g}      HASH epoch, seq (the head), floor, top (0: the ZSET is empty), bytes of the members
-- KEYS[3] throng:group:recalled:{g}  ZSET score = seq of a recall event in the range, member = "target:event", target below it
-- ARGV: epoch, bound, bound in bytes, ttl_seconds, number n of messages, n * (seq, packed), then * (target seq, event seq; 0: not known)
-- Packed: seq (8 bytes), kind (1, plus 128 when recalled), length of the envelope (2), envelope, body.
--
-- What is in the range is never replaced: it may be blanked already, and what comes may have been read before that.
-- Messages below the range that do not touch it are late and change nothing; messages above a gap replace the range.
-- A recall whose target is not here is remembered, so that a reader who fills in the target later cannot undo it.

local recent, state, recalled = KEYS[1], KEYS[2], KEYS[3]
local epoch, bound, bound_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local ttl, count, list = tonumber(ARGV[4]), tonumber(ARGV[5]), 6
local known = redis.call('HMGET', state, 'epoch', 'seq', 'floor', 'top', 'bytes')
local known_epoch, head = tonumber(known[1] or 0), tonumber(known[2] or 0)
local floor, top, bytes = tonumber(known[3] or 0), tonumber(known[4] or 0), tonumber(known[5] or 0)
-- No key is made here that has no end of its life yet.
local keys_last = top > 0 and #ARGV < list + count * 2

-- Lua 5.1 writes large numbers with an exponent, which cuts digits off.
local function text(number)
  return string.format('%.0f', number)
end

local function forget()
  redis.call('DEL', recent, recalled)
  floor, top, bytes = 0, 0, 0
  keys_last = false
end

local function drop_below(seq)
  for _, packed in ipairs(redis.call('ZRANGEBYSCORE', recent, '-inf', '(' .. text(seq))) do
    bytes = bytes - #packed
  end
  redis.call('ZREMRANGEBYSCORE', recent, '-inf', '(' .. text(seq))
  floor = seq
end

if epoch < known_epoch then
  return 0
end
if epoch > known_epoch then
  forget()
  head = 0
elseif top > 0 and (not known[5] or redis.call('ZCARD', recent) ~= top - floor + 1) then
  forget()
end
local old_head, old_floor = head, floor

-- Protobuf field 9 (recalled_by_seq) as a varint behind the envelope; the body goes.
local function blank(packed, event)
  local kind, high, low = string.byte(packed, 9, 11)
  if kind >= 128 then
    return packed
  end
  local envelope = string.sub(packed, 12, 11 + high * 256 + low) .. '\72'
  repeat
    local bits = event % 128
    event = (event - bits) / 128
    envelope = envelope .. string.char(event > 0 and bits + 128 or bits)
  until event == 0
  local length = #envelope
  return string.sub(packed, 1, 8) .. string.char(kind + 128, math.floor(length / 256), length % 256) .. envelope
end

local function remembered_recalls()
  local events = {}
  for _, mark in ipairs(redis.call('ZRANGE', recalled, 0, -1)) do
    local target, event = string.match(mark, '^(%d+):(%d+)$')
    events[tonumber(target)] = tonumber(event)
  end
  return events
end

-- In pieces that fit Lua's stack.
local function add(from, to, events)
  local first = tonumber(ARGV[list])
  local piece = {}
  for seq = from, to do
    local at = list + (seq - first) * 2
    local packed = events[seq] and blank(ARGV[at + 1], events[seq]) or ARGV[at + 1]
    bytes = bytes + #packed
    piece[#piece + 1] = ARGV[at]
    piece[#piece + 1] = packed
    if #piece >= 1000 or seq == to then
      redis.call('ZADD', recent, unpack(piece))
      piece = {}
    end
  end
end

if count > 0 then
  local first, last = tonumber(ARGV[list]), tonumber(ARGV[list + count * 2 - 2])
  if top > 0 and first > top + 1 then
    forget()
  end
  if top == 0 then
    add(first, last, {})
    floor, top = first, last
  elseif last >= floor - 1 then
    local lowest = math.max(first, top - bound + 1)
    if lowest < floor then
      add(lowest, floor - 1, remembered_recalls())
      floor = lowest
    end
    if last > top then
      add(top + 1, last, {})
      top = last
    end
  end
  head = math.max(head, top)
end

for at = list + count * 2, #ARGV, 2 do
  local target, event = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if top > 0 and target >= floor and target <= top then
    local packed = redis.call('ZRANGEBYSCORE', recent, text(target), text(target))[1]
    if event > 0 then
      local blanked = blank(packed, event)
      bytes = bytes - #packed + #blanked
      redis.call('ZREM', recent, packed)
      redis.call('ZADD', recent, text(target), blanked)
    elseif string.byte(packed, 9) < 128 then
      -- Without the event the message cannot be blanked; what lies up to it goes.
      drop_below(target + 1)
    end
  elseif target < floor and event >= floor and event <= top then
    redis.call('ZADD', recalled, text(event), text(target) .. ':' .. text(event))
  end
end

if top > 0 then
  if floor < top - bound + 1 then
    drop_below(top - bound + 1)
  end
  while bytes > bound_bytes and floor < top do
    -- The oldest go, some at a time.
    local last = math.min(floor + 15, top - 1)
    local over = bytes - bound_bytes
    for _, packed in ipairs(redis.call('ZRANGEBYSCORE', recent, text(floor), text(last))) do
      over = over - #packed
      floor = floor + 1
      if over <= 0 then
        break
      end
    end
    drop_below(floor)
  end
  if floor ~= old_floor then
    redis.call('ZREMRANGEBYSCORE', recalled, '-inf', '(' .. text(floor))
  end
  if floor > top then
    forget()
  end
end
redis.call('HSET', state, 'epoch', text(epoch), 'seq', text(head), 'floor', text(floor), 'top', text(top),
  'bytes', text(bytes))

-- Life is prolonged only when the head moves: a head that went stale, because a put was lost, goes by itself.
local left = redis.call('TTL', state)
if head == old_head and left > 0 then
  ttl = left
end
-- A sixtieth of it may pass before that costs anything.
if not keys_last or left < ttl - ttl / 60 then
  for _, key in ipairs(KEYS) do
    redis.call('EXPIRE', key, ttl)
  end
end
return 1
