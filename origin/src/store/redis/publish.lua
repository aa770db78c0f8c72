-- Publishes what is not said yet, queues for later, and removes what is done.
-- KEYS: signals, later, events, said, signalled.
-- ARGV: now, how many events, how many for later, how many done;
--   pairs of an event's digest and bytes, pairs of a time and a signal's bytes, places.
local signals, later, events, said, signalled = unpack(KEYS)
local now, at = ARGV[1], 4
local function argument()
  at = at + 1
  return ARGV[at]
end

local function append(event)
  local added = redis.pcall('XADD', events, now .. '-*', 'e', event)
  if type(added) == 'table' and added.err then
    -- Another process, whose clock is ahead, has published: places only rise.
    local stream = redis.call('XINFO', 'STREAM', events)
    for i = 1, #stream, 2 do
      if stream[i] == 'last-generated-id' then
        redis.call('XADD', events, string.match(stream[i + 1], '^%d+') .. '-*', 'e', event)
      end
    end
  end
end

for _ = 1, tonumber(ARGV[2]) do
  local id, event = argument(), argument()
  if redis.call('ZADD', said, 'NX', now, id) == 1 then
    append(event)
  end
  redis.call('SREM', signalled, id)
end
for _ = 1, tonumber(ARGV[3]) do
  local due, signal = argument(), argument()
  -- Twice the same is once, at the later time.
  redis.call('ZADD', later, 'GT', due, signal)
end
for _ = 1, tonumber(ARGV[4]) do
  local place = argument()
  redis.call('XACK', signals, 'process', place)
  redis.call('XDEL', signals, place)
end
