-- Drops a claim that the store has accepted.
--
-- Reads    the claim's state KEYS[2] (hash).
-- Writes   removes the sealed entries from the claim KEYS[1] (list) and the seal from its state, and notes the number
--          that comes after them.
-- Takes    the seal: the number of the first entry ARGV[1], and how many there are ARGV[2].
-- Returns  1 if the claim was dropped, 0 if it is not sealed in this way any more: then it was dropped before.
-- Promises Only entries of this very seal are removed; those behind it stay in the claim.
local claim, state = KEYS[1], KEYS[2]

if redis.call('HGET', state, 'first') ~= ARGV[1] or redis.call('HGET', state, 'count') ~= ARGV[2] then
  return 0
end
redis.call('LTRIM', claim, ARGV[2], -1)
redis.call('HSET', state, 'next', tonumber(ARGV[1]) + tonumber(ARGV[2]))
redis.call('HDEL', state, 'first', 'count')
return 1
