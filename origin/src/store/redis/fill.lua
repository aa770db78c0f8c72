-- Merges facts into a view that the caller is filling.
-- KEYS: view. ARGV: the mark's epoch, the caller's nonce, for how long it is to be kept in ms if these are the last
--   facts, else 0; how many, and as many pairs of field and register.
-- Answers 0 if it is not the caller's any more.
if redis.call('HGET', KEYS[1], '@') ~= 'loading ' .. ARGV[1] .. ' ' .. ARGV[2] then
  return 0
end
merge(KEYS[1], 5, tonumber(ARGV[4]))
if ARGV[3] ~= '0' then
  redis.call('HSET', KEYS[1], '@', 'loaded ' .. ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return 1
