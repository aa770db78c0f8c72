-- Makes an empty view that is being filled, unless it is there.
-- KEYS: view, mark. ARGV: the mark's epoch, a nonce, how long the filling may take in ms.
-- Answers 1 if the caller is to fill it.
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then
  return 0
end
local state = redis.call('HGET', KEYS[1], '@')
if state then
  local epoch = string.match(state, '^%a+ (%d+)')
  if epoch == ARGV[1] then
    return 0 -- loaded meanwhile, or somebody else is filling it
  end
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], '@', 'loading ' .. ARGV[1] .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
