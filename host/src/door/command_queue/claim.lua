-- Drops the claim that the store has accepted, then claims entries of the queue for one store, and numbers them.
--
-- Reads    the queue KEYS[1], the claim KEYS[2] (lists), the claim's state KEYS[3] (hash).
-- Writes   moves entries from the head of the queue to the tail of the claim; seals the claim in its state; puts the
--          claim's key into the set of this queue's claims KEYS[4].
-- Takes    ARGV[1] the number of the last entry that the store accepted from this queue; the most entries ARGV[2] and
--          the most bytes ARGV[3] of a claim, of which one entry at least is taken, however large; the name ARGV[4]
--          under which the store counts the claims.
-- Returns  the number of the first entry, and the entries in order; 0 and none if there is nothing to claim.
-- Promises A sealed claim of which the store has accepted every entry is dropped, and no entry behind its seal.
--          Any other is returned as it was sealed, with the same numbers, until it is dropped; entries behind the
--          seal wait. A new seal's numbers are higher than all that were accepted or dropped. A seal for more entries
--          than the claim holds is void, since somebody took entries out by hand: what is left is claimed anew.
local queue, claim, state, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local accepted, most, most_bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- Changes nothing, but Redis lets a script that has written once go on when memory is at its maximum: a full Redis can
-- then be emptied.
redis.call('LTRIM', claim, 0, -1)
redis.call('SADD', claims, claim)

local held = redis.call('LLEN', claim)
local first = tonumber(redis.call('HGET', state, 'first'))
local count = tonumber(redis.call('HGET', state, 'count'))

if first and count and count <= held and first + count - 1 <= accepted then
  redis.call('LTRIM', claim, count, -1)
  redis.call('HSET', state, 'next', first + count)
  redis.call('HDEL', state, 'first', 'count')
  held = held - count
  first = nil
end

if not first or not count or count > held then
  -- Entries are looked at some at a time, since a call for each costs more than all the rest; after a large one, one at
  -- a time again, since what is looked at is copied.
  local bytes, step = 0, 1
  local all = {}
  count = 0
  local full = false
  local function fill(list, from)
    local entries = redis.call('LRANGE', list, from, from + math.min(step, most - count) - 1)
    local taken = 0
    for _, entry in ipairs(entries) do
      if count > 0 and bytes + #entry > most_bytes then
        full = true
        break
      end
      count = count + 1
      taken = taken + 1
      all[count] = entry
      bytes = bytes + #entry
      if #entry > 65536 then step = 0 end
    end
    step = math.max(1, math.min(step * 2, 64))
    return entries, taken
  end
  while not full and count < most and count < held do
    fill(claim, count)
  end
  local at = 0
  while not full and count < most do
    local entries, taken = fill(queue, at)
    if taken == 0 then break end
    redis.call('RPUSH', claim, unpack(entries, 1, taken))
    at = at + taken
  end
  if at > 0 then
    redis.call('LTRIM', queue, at, -1)
  end
  if count == 0 then
    redis.call('HDEL', state, 'first', 'count')
    return {0, {}}
  end
  first = math.max(accepted + 1, tonumber(redis.call('HGET', state, 'next')) or 1)
  redis.call('HSET', state, 'first', first, 'count', count, 'door', ARGV[4])
  return {first, all}
end

return {first, redis.call('LRANGE', claim, 0, count - 1)}
