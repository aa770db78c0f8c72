-- Drops events that are kept no longer, what says that they were said, and consumers that are long gone.
-- KEYS: events, said, signals. ARGV: the last time that is dropped, how many, for how long a consumer
--   must not have been seen, in ms. Answers how many events it dropped.
local events, said, signals = unpack(KEYS)
local old = redis.call('XRANGE', events, '-', ARGV[1], 'COUNT', ARGV[2])
for _, entry in ipairs(old) do
  redis.call('XDEL', events, entry[1])
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', said, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  redis.call('ZREM', said, id)
end
if redis.call('EXISTS', signals) == 1 then
  -- Refused as long as there is no group.
  local consumers = redis.pcall('XINFO', 'CONSUMERS', signals, 'process')
  for _, consumer in ipairs(consumers.err and {} or consumers) do
    local about = {}
    for i = 1, #consumer, 2 do
      about[consumer[i]] = consumer[i + 1]
    end
    if about.pending == 0 and about.idle > tonumber(ARGV[3]) then
      redis.call('XGROUP', 'DELCONSUMER', signals, 'process', about.name)
    end
  end
end
return #old
