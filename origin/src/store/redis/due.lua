-- Takes signals for one consumer: first those that it has taken before, then those that others have left, then new ones.
-- KEYS: signals, later. ARGV: now, how many, the consumer, for how long others must have left theirs, in ms.
-- Answers pairs of a signal's place and its bytes.
local signals, later = KEYS[1], KEYS[2]
local count, consumer = tonumber(ARGV[2]), ARGV[3]
for _, signal in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', ARGV[1], 'LIMIT', 0, count)) do
  redis.call('XADD', signals, '*', 's', signal)
  redis.call('ZREM', later, signal)
end
if redis.call('EXISTS', signals) == 0 then
  return {}
end
-- Refused where the group exists already, which is almost always.
redis.pcall('XGROUP', 'CREATE', signals, 'process', '0')

local found = {}
local function add(entries)
  for _, entry in ipairs(entries) do
    -- What was removed though a consumer held it has no fields.
    if entry and entry[2] then
      found[#found + 1] = {entry[1], entry[2][2]}
    end
  end
end
local function read(from)
  local left = count - #found
  if left > 0 then
    local streams =
      redis.call('XREADGROUP', 'GROUP', 'process', consumer, 'COUNT', left, 'STREAMS', signals, from)
    if streams then
      add(streams[1][2])
    end
  end
end

read('0')
local cursor = '0-0'
while #found < count do
  local claimed =
    redis.call('XAUTOCLAIM', signals, 'process', consumer, ARGV[4], cursor, 'COUNT', count - #found)
  add(claimed[2])
  cursor = claimed[1]
  if cursor == '0-0' then
    break
  end
end
read('>')
return found
