-- Whether one register is newer than another: by bytes, as everywhere. Lua's own < follows the server's locale.
local function newer(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

-- Merges registers into a view: ARGV[from ..] in pairs of a field and its register, so many of them.
local function merge(view, from, count)
  for i = from, from + 2 * count - 1, 2 do
    local held = redis.call('HGET', view, ARGV[i])
    if not held or newer(ARGV[i + 1], held) then
      redis.call('HSET', view, ARGV[i], ARGV[i + 1])
    end
  end
end
