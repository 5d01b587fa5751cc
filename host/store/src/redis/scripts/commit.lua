-- Commits one round of a host's decisions: all of it, or nothing.
--
-- Promises
--   * Nothing is written unless everything the round was decided on still holds: the fences of the partitions whose
--     jobs it settles, the versions of the records it read, the event filters it routed by, the claims of doors, the jobs
--     and letters it removes. Otherwise it says what does not hold, and the host decides anew.
--   * Should the server refuse a write when others were made, nothing is acknowledged: the call, made again, says HALF.
--   * A call that is made again, since its reply was lost, has no second effect, even if it comes after later ones.
--   * A server that has forgotten the host's last commit, as one that was started with an older snapshot, says so: what the
--     host decided rests on it.
--   * Ids are given out here, so they grow in the order in which rounds are committed, whatever the hosts' clocks say.
--   * Whoever owns a partition is told of the jobs that came for it, in order, and woken.
--
-- Reads    owners, v:*, filters:version, claims, calls:HOST, ids, history, in:HOST, and what is said to have to exist
-- Writes   calls:HOST, ids, p:*, h:*, history, pieces, dead, dead:ids, runs, v:runs, in:*, wake:*, and the keys that the
--          round names
--
-- KEYS[1]  prefix of all keys, `{ays:NAMESPACE}:`
-- ARGV     read in order, see below. An id is 26 characters, or, for one that is given out here, its number from 0.
-- Returns  {'ok' | 'again', first id given out, more, notice, record, …} or
--          {'stale', partitions, records, filters (0 | 1), missing, claims (door, number, …)} or
--          {'forgot', number of the last call that is known}

local P = KEYS[1]
local call, args = redis.call, ARGV
local at = 0
local function take()
  at = at + 1
  return args[at]
end
local function count()
  at = at + 1
  return tonumber(args[at])
end

-- Writing a thousand values at a time keeps within what Lua can unpack.
local MOST = 2000
local function write(command, key, values)
  local n = #values
  for from = 1, n, MOST do
    call(command, key, unpack(values, from, math.min(from + MOST - 1, n)))
  end
end

local host, number, previous, now = take(), take(), take(), count()
local ids, piece_jobs, most_notices, acknowledged = count(), count(), count(), count()
local filters = take()

-- What has come for this host: notices of jobs with their records. They stay until the next call acknowledges them.
local function notices(reply)
  local key = P .. 'in:' .. host
  local found = call('LRANGE', key, 0, most_notices - 1)
  reply[3] = #found == most_notices and 1 or 0
  local of = {}
  for i, notice in ipairs(found) do
    local partition, id = string.match(notice, '^j(%d+) (.+)$')
    if partition then
      local group = of[partition]
      if not group then
        group = {ids = {}, places = {}}
        of[partition] = group
      end
      group.ids[#group.ids + 1] = id
      group.places[#group.places + 1] = i
    end
    reply[3 + 2 * i - 1] = notice
    reply[3 + 2 * i] = ''
  end
  for partition, group in pairs(of) do
    for from = 1, #group.ids, MOST do
      local to = math.min(from + MOST - 1, #group.ids)
      local records = call('HMGET', P .. 'p:' .. partition, unpack(group.ids, from, to))
      for i, record in ipairs(records) do
        reply[3 + 2 * group.places[from + i - 1]] = record or ''
      end
    end
  end
  return reply
end

-- A server that has lost all it had knows nothing of the namespace.
if call('EXISTS', P .. 'ids') == 0 then
  return redis.error_reply('LOST the namespace is gone: Redis was started anew without what it had, or somebody deleted it')
end

local made = call('GET', P .. 'calls:' .. host)
local before, base, begun = string.match(made or '0 -', '^(%d+) (%S+)(.*)$')
if made then
  -- An older one was on its way on a connection that is no more; the host has made it again since, and others.
  if before == number and begun ~= '' then
    return redis.error_reply('HALF a commit was broken off by an error in its midst')
  end
  if tonumber(before) >= tonumber(number) then
    return notices({'again', base, 0})
  end
end
if before ~= previous then
  return {'forgot', before}
end

-- What the round was decided on.
local stale, partitions, records, missing, claims = false, {}, {}, {}, {}
local filters_changed = 0
local owners = {}
for _ = 1, count() do
  local names, tokens = {}, {}
  for i = 1, count() do
    names[i], tokens[i] = take(), take()
  end
  for i, owner in ipairs(call('HMGET', P .. 'owners', unpack(names))) do
    owners[names[i]] = owner
    if tokens[i] ~= '' and owner ~= tokens[i] then
      partitions[#partitions + 1] = names[i]
      stale = true
    end
  end
end
for _ = 1, count() do
  local key, names, versions = P .. 'v:' .. take(), {}, {}
  for i = 1, count() do
    names[i], versions[i] = take(), take()
  end
  for from = 1, #names, MOST do
    local to = math.min(from + MOST - 1, #names)
    for i, version in ipairs(call('HMGET', key, unpack(names, from, to))) do
      if (version or '') ~= versions[from + i - 1] then
        records[#records + 1] = names[from + i - 1]
        stale = true
      end
    end
  end
end
if filters ~= '' and (call('GET', P .. 'filters:version') or '0') ~= filters then
  filters_changed = 1
  stale = true
end
for _ = 1, count() do
  local key = P .. take()
  for _ = 1, count() do
    local field = take()
    if call('HEXISTS', key, field) == 0 then
      missing[#missing + 1] = field
      stale = true
    end
  end
end
local doors = {}
for _ = 1, count() do
  local door, expected, new = take(), take(), take()
  local last = call('HGET', P .. 'claims', door) or '0'
  if last ~= expected then
    claims[#claims + 1] = door
    claims[#claims + 1] = last
    stale = true
  end
  doors[#doors + 1] = door
  doors[#doors + 1] = new
end
if stale then
  return {'stale', partitions, records, filters_changed, missing, claims}
end

-- Ids: a ULID whose 80 low bits are a number of the namespace (30 bits) and the id's number (50 bits).
local DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
local function digits(n, length)
  local out = {}
  for i = length, 1, -1 do
    local digit = n % 32
    out[i] = string.sub(DIGITS, digit + 1, digit + 1)
    n = (n - digit) / 32
  end
  return table.concat(out)
end
local last = call('HMGET', P .. 'ids', 'ms', 'number', 'salt')
local ms = math.max(tonumber(last[1] or 1), now)
local first = tonumber(last[2] or 0) + 1
local head = digits(ms, 10) .. last[3]
local base = head .. digits(first, 10)
local known_high, known_head = -1, ''
local function id_of(spec)
  if #spec == 26 then
    return spec
  end
  local n = first + tonumber(spec)
  local low = n % 1024
  local high = (n - low) / 1024
  if high ~= known_high then
    known_high, known_head = high, head .. digits(high, 8)
  end
  local middle, least = (low - low % 32) / 32, low % 32
  return known_head .. string.sub(DIGITS, middle + 1, middle + 1) .. string.sub(DIGITS, least + 1, least + 1)
end
-- A record whose ids are numbers from 0 says what to add to them.
local function rebased(json)
  return '@' .. base .. json
end

-- The first write: where writes are refused, it is here, before anything has changed.
-- Should the server refuse one further down, as when a key was made one of another type by hand, this tells.
call('SET', P .. 'calls:' .. host, number .. ' ' .. base .. ' begun', 'PX', '86400000')
if acknowledged > 0 then
  call('LTRIM', P .. 'in:' .. host, acknowledged, -1)
end
if ids > 0 then
  call('HSET', P .. 'ids', 'ms', string.format('%d', ms), 'number', string.format('%d', first + ids - 1))
end
if #doors > 0 then
  call('HSET', P .. 'claims', unpack(doors))
end

-- Whom to tell what.
local told = {}
local function tell(partition, notice)
  local owner = owners[partition]
  local other = owner and string.match(owner, '^%S+')
  if other and other ~= host then
    local list = told[other]
    if not list then
      list = {}
      told[other] = list
    end
    list[#list + 1] = notice
  end
end

-- Records that are put, removed and counted as they are.
for _ = 1, count() do
  local n, command, key = count(), take(), take()
  for from = at + 1, at + n, MOST do
    call(command, P .. key, unpack(args, from, math.min(from + MOST - 1, at + n)))
  end
  at = at + n
end
for _ = 1, count() do
  local partition, notice = take(), take()
  tell(partition, notice)
end

-- New jobs, by partition.
for _ = 1, count() do
  local partition, n = take(), count()
  local values = {}
  for i = 1, n do
    local id = id_of(take())
    values[2 * i - 1], values[2 * i] = id, rebased(take())
    tell(partition, 'j' .. partition .. ' ' .. id)
  end
  write('HSET', P .. 'p:' .. partition, values)
end

-- The history: a piece of it is closed when it is full, or a day is over.
local services, others = count(), count()
if services + others > 0 then
  local day = math.floor(now / 86400000)
  local state = call('HMGET', P .. 'history', 'piece', 'day', 'rows')
  local piece, rows = state[1], tonumber(state[3] or 0)
  if not piece or rows >= piece_jobs or day > tonumber(state[2]) then
    piece = string.format('%d', tonumber(piece or 0) + 1)
    rows = 0
    call('RPUSH', P .. 'pieces', piece)
    call('HSET', P .. 'history', 'piece', piece, 'day', string.format('%d', day))
  end
  local H = P .. 'h:' .. piece
  local values, names = {}, {}
  local jobs, least, most = 0, nil, nil
  for _ = 1, services do
    local service, n = take(), count()
    local list = {}
    for i = 1, n do
      local spec, record = take(), take()
      local id = id_of(spec)
      list[i] = id
      values[#values + 1] = id
      values[#values + 1] = #spec == 26 and record or rebased(record)
      if not least or id < least then least = id end
      if not most or id > most then most = id end
    end
    jobs = jobs + n
    names[#names + 1] = service
    call('APPEND', H .. ':s:' .. service, table.concat(list))
  end
  if jobs > 0 then
    write('HSET', H .. ':jobs', values)
    write('SADD', H .. ':services', names)
  end
  for _ = 1, others do
    local kind, spec, record = take(), take(), take()
    local id = id_of(spec)
    if kind == 'u' then
      call('HSET', H .. ':unmatched', id, rebased(record))
    else
      call('HDEL', P .. 'runs', id)
      call('HDEL', P .. 'v:runs', id)
      call('HSET', H .. ':runs', id, rebased(record))
    end
  end
  local meta = call('HMGET', H, 'least', 'most')
  if least then
    if meta[1] and meta[1] < least then least = meta[1] end
    if meta[2] and meta[2] > most then most = meta[2] end
    call('HSET', H, 'least', least, 'most', most, 'last', string.format('%d', now))
    call('HINCRBY', H, 'jobs', jobs)
    call('HINCRBY', P .. 'history', 'jobs', jobs)
  else
    call('HSET', H, 'last', string.format('%d', now))
  end
  call('HSET', P .. 'history', 'rows', string.format('%d', rows + jobs + others))
end

-- Dead letters, and runs under way.
for _ = 1, count() do
  local spec, record = take(), take()
  local id = id_of(spec)
  call('HSET', P .. 'dead', id, rebased(record))
  call('ZADD', P .. 'dead:ids', 0, id)
end
for _ = 1, count() do
  local spec, record = take(), take()
  local id = id_of(spec)
  call('HSET', P .. 'runs', id, rebased(record))
  call('HSET', P .. 'v:runs', id, host .. ' ' .. number)
end

for other, list in pairs(told) do
  write('RPUSH', P .. 'in:' .. other, list)
  if call('EXISTS', P .. 'wake:' .. other) == 0 then
    call('RPUSH', P .. 'wake:' .. other, '1')
  end
end
call('SET', P .. 'calls:' .. host, number .. ' ' .. base, 'PX', '86400000')
return notices({'ok', base, 0})
