-- Drops of the claim what the store has accepted, fills it up from the queue, and numbers what came.
--
-- Reads    the queue KEYS[1], the claim KEYS[2] (lists), the claim's state KEYS[3] (hash).
-- Writes   removes accepted entries from the head of the claim; moves entries from the head of the queue to its tail; seals
--          what it holds in its state; puts the claim's key into the set of this queue's claims KEYS[4].
-- Takes    ARGV[1] the number of the last entry that the store accepted from this queue; ARGV[2] that of the last one that
--          the door has; the most entries ARGV[3] and the most bytes ARGV[4] that are returned, of which one entry at least
--          is taken, however large; ARGV[5] the most entries that are sealed at a time, 0 to claim none; the name ARGV[6]
--          under which the store counts the claims.
-- Returns  the number of the first entry that the door does not have, and the entries from there, in order; 0 and none if
--          there are none.
-- Promises A sealed entry stays in the claim, under the same number, until the store has accepted it; entries behind the seal
--          wait. The numbers of what is sealed anew are higher than all before. A seal for more entries than the claim
--          holds is void, since somebody took entries out by hand: what is left is claimed anew.
local queue, claim, state, claims = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local accepted, have = tonumber(ARGV[1]), tonumber(ARGV[2])
local most, most_bytes, window = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

-- Changes nothing, but Redis lets a script that has written once go on when memory is at its maximum: a full Redis can
-- then be emptied.
redis.call('LTRIM', claim, 0, -1)
redis.call('SADD', claims, claim)

local held = redis.call('LLEN', claim)
local sealed = redis.call('HMGET', state, 'first', 'count', 'next')
local first, count, next = tonumber(sealed[1]), tonumber(sealed[2]), tonumber(sealed[3]) or 1

if first and count and count <= held then
  local done = math.max(0, math.min(count, accepted - first + 1))
  if done > 0 then
    redis.call('LTRIM', claim, done, -1)
    first, count, held = first + done, count - done, held - done
  end
else
  first, count = math.max(accepted + 1, next, (first or 0) + (count or 0)), 0
end

local from = math.max(have + 1, first)
local found = {}
if from < first + count then
  found = redis.call('LRANGE', claim, from - first, math.min(from - first + most, count) - 1)
else
  -- Entries are looked at some at a time, since a call for each costs more than all the rest; after a large one, one at
  -- a time again, since what is looked at is copied.
  from = first + count
  local room = math.min(most, window - count)
  local taken, bytes, step, full = 0, 0, 1, false
  local function fill(list, at, wanted)
    local entries = redis.call('LRANGE', list, at, at + math.min(step, wanted) - 1)
    local fitting = 0
    for _, entry in ipairs(entries) do
      if taken > 0 and bytes + #entry > most_bytes then
        full = true
        break
      end
      taken = taken + 1
      fitting = fitting + 1
      found[taken] = entry
      bytes = bytes + #entry
      if #entry > 65536 then step = 0 end
    end
    step = math.max(1, math.min(step * 2, 64))
    return entries, fitting
  end
  while not full and taken < room and count + taken < held do
    fill(claim, count + taken, math.min(room - taken, held - count - taken))
  end
  local at = 0
  while not full and taken < room do
    local entries, fitting = fill(queue, at, room - taken)
    if fitting == 0 then break end
    redis.call('RPUSH', claim, unpack(entries, 1, fitting))
    at = at + fitting
  end
  if at > 0 then
    redis.call('LTRIM', queue, at, -1)
  end
  count = count + taken
end

if count == 0 then
  if first ~= next then
    redis.call('HSET', state, 'next', first)
  end
  redis.call('HDEL', state, 'first', 'count')
else
  redis.call('HSET', state, 'first', first, 'count', count, 'next', first + count, 'door', ARGV[6])
end
if #found == 0 then
  return {0, {}}
end
return {from, found}
