"""What the server has to do in one step, in Lua.

Scripts name keys that they compute, so one server (or a failover pair) is needed, not a cluster.
"""

from __future__ import annotations

#: KEYS topics, bell; ARGV topic. Returns the type of the key that the topic would be.
REGISTER = """
local kind = redis.call('TYPE', ARGV[1]).ok
if kind ~= 'none' and kind ~= 'stream' then return kind end
if redis.call('SADD', KEYS[1], ARGV[1]) == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100, '*', 'topic', ARGV[1])
end
return 'stream'
"""

#: A subscription's birth: the registry of topics must be the one that the caller has seen, so that
#: every topic that comes later is known to be younger. KEYS subscriptions, topics, epoch;
#: ARGV field, record, group, start, a new epoch, the epoch last seen here, how many topics there
#: are, and those that match. Returns epoch, whether it was born, how many groups were made.
DECLARE = """
if redis.call('SCARD', KEYS[2]) ~= tonumber(ARGV[7]) then return {'again', 0, 0} end
redis.call('SET', KEYS[3], ARGV[5], 'NX')
local epoch = redis.call('GET', KEYS[3])
local born = redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
local start = '0'
-- After a wipe all there is came later than the subscription.
if born == 1 and (ARGV[6] == '' or ARGV[6] == epoch) then start = ARGV[4] end
local made = 0
for i = 8, #ARGV do
  local reply = redis.pcall('XGROUP', 'CREATE', ARGV[i], ARGV[3], start, 'MKSTREAM')
  if not reply.err then made = made + 1
  elseif not string.find(reply.err, 'BUSYGROUP', 1, true) then return reply end
end
return {epoch, born, made}
"""

#: KEYS subscriptions, started; ARGV field, group, inboxes, inbox prefix, due prefix, topics.
DROP = """
local found = redis.call('HDEL', KEYS[1], ARGV[1])
for _, handler in ipairs(redis.call('SMEMBERS', ARGV[3])) do
  redis.call('DEL', ARGV[4] .. handler, ARGV[5] .. handler)
end
redis.call('DEL', ARGV[3])
for i = 6, #ARGV do redis.pcall('XGROUP', 'DESTROY', ARGV[i], ARGV[2]) end
return found
"""

#: Renews the leases that are still this consumer's, in one step with looking. KEYS stream;
#: ARGV group, consumer, ids. Returns the ids that are lost.
RENEW = """
local lost, mine = {}, {}
local group = redis.pcall('XPENDING', KEYS[1], ARGV[1])
if group.err then
  if not string.find(group.err, 'NOGROUP', 1, true) then return group end
  for i = 3, #ARGV do lost[#lost + 1] = ARGV[i] end
  return lost
end
for i = 3, #ARGV do
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if #row == 0 then lost[#lost + 1] = ARGV[i] else mine[#mine + 1] = ARGV[i] end
end
if #mine > 0 then
  mine[#mine + 1] = 'JUSTID'
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, unpack(mine))
end
return lost
"""

#: KEYS subscriptions, inboxes, inbox, due, bell; ARGV field, handler, milliseconds, entry.
PARK = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('SADD', KEYS[2], ARGV[2])
redis.pcall('XGROUP', 'CREATE', KEYS[3], 'eventbus', '0', 'MKSTREAM')
if tonumber(ARGV[3]) > 0 then
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[4], now[1] * 1000 + now[2] / 1000 + ARGV[3], ARGV[4])
else
  redis.call('XADD', KEYS[3], '*', 'e', ARGV[4])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', 100, '*', 'inbox', ARGV[1])
end
return 1
"""

#: Moves parked events that are due into the inbox. KEYS inbox, due; ARGV how many at most.
#: Returns the milliseconds until the next one, -1 if there is none.
MOVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, entry in ipairs(found) do
  redis.call('XADD', KEYS[1], '*', 'e', entry)
  redis.call('ZREM', KEYS[2], entry)
end
local nearest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if #nearest == 0 then return -1 end
return math.max(0, math.ceil(nearest[2] - now))
"""

#: `DELCONSUMER` drops what is pending without a trace, so only in one step with looking.
#: KEYS stream; ARGV group, prefix of our consumers, milliseconds of idleness.
SWEEP = """
local removed = 0
for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local about = {}
  for i = 1, #row, 2 do about[row[i]] = row[i + 1] end
  if string.sub(about.name, 1, #ARGV[2]) == ARGV[2] and about.pending == 0
      and about.idle > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], about.name)
    removed = removed + 1
  end
end
return removed
"""
