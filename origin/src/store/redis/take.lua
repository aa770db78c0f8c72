-- Commits what was decided on one account, if nothing has changed since it was read.
-- KEYS: leases, mark, due, signals, said, signalled, then one view for each profile.
-- ARGV: the nonce of the leases that were read ('' for none), the mark's since and epoch, the account,
--   the leases to write ('' to keep those that are there, 'drop' to remove them), when they are due,
--   how many signals; for each its bytes, how many events it may make, their digests;
--   then for each view how many registers, and as many pairs of field and register.
-- Answers {1}, or {0, leases, at, since, epoch, run} as they are now.
local leases, mark, due, signals, said, signalled = unpack(KEYS, 1, 6)
local nonce, account, change = ARGV[1], ARGV[4], ARGV[5]
local found = redis.call('HMGET', mark, 'at', 'since', 'epoch', 'run')
if redis.call('GETRANGE', leases, 0, 7) ~= nonce or found[2] ~= ARGV[2] or found[3] ~= ARGV[3] then
  return {0, redis.call('GET', leases), found[1], found[2], found[3], found[4]}
end

local at = 7
local function argument()
  at = at + 1
  return ARGV[at]
end

if change == 'drop' then
  redis.call('DEL', leases)
  redis.call('ZREM', due, account)
else
  if change ~= '' then
    redis.call('SET', leases, change)
  end
  if ARGV[6] ~= '' then
    redis.call('ZADD', due, ARGV[6], account)
  end
end

for _ = 1, tonumber(ARGV[7]) do
  local signal, ids = argument(), tonumber(argument())
  -- One that can make no event but such as are made, or under way, is not needed.
  local needed = ids == 0
  for _ = 1, ids do
    local id = argument()
    if not redis.call('ZSCORE', said, id) and redis.call('SADD', signalled, id) == 1 then
      needed = true
    end
  end
  if needed then
    redis.call('XADD', signals, '*', 's', signal)
  end
end

for i = 7, #KEYS do
  local count = tonumber(argument())
  -- Into one that exists, whole or being filled; whoever fills one that does not will find these in the facts.
  if redis.call('EXISTS', KEYS[i]) == 1 then
    merge(KEYS[i], at + 1, count)
  end
  at = at + 2 * count
end
return {1}
