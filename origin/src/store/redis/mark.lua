-- Renews a partition's mark, or begins it anew.
-- KEYS: mark. ARGV: now, the gap in ms, the server's run, 1 if it is collect that speaks.
-- Answers {since, epoch} as they then are.
local key, now, gap, run = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local found = redis.call('HMGET', key, 'at', 'since', 'epoch', 'run')
local at, since, epoch = tonumber(found[1]), found[2], found[3]
if not at or not since or not epoch or found[4] ~= run then
  -- Emptied, or another run. Two that begin within a millisecond are one.
  redis.call('HSET', key, 'at', ARGV[1], 'since', ARGV[1], 'epoch', ARGV[1], 'run', run)
  return {ARGV[1], ARGV[1]}
end
if at > 0 and now - at > gap then
  redis.call('HSET', key, 'at', ARGV[1], 'since', ARGV[1])
  return {ARGV[1], epoch}
end
if ARGV[4] == '1' and now > at then
  redis.call('HSET', key, 'at', ARGV[1])
end
return {since, epoch}
