-- Reads a range of the recent messages of one group together with its head.
--
-- KEYS[1], KEYS[2] as in recent_put.lua; ARGV: 'after', lowest seq, highest seq; or 'before', highest score, number.
-- Returns {{epoch, seq}, members}: rising for 'after', falling for 'before'; epoch and seq are nil when the group is not known.

local head = redis.call('HMGET', KEYS[2], 'epoch', 'seq')
if ARGV[1] == 'after' then
  return { head, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[2], ARGV[3]) }
end
return { head, redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[2], '-inf', 'LIMIT', 0, ARGV[3]) }
