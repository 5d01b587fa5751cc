-- Renews a host's lease, gives partitions back, and takes over those whose owner is gone.
--
-- Promises
--   * A partition changes hands only if its owner gave it back or its lease is over by this server's clock.
--   * Whenever it changes hands, or its owner has not been told what came for it, its fence is raised, so that nothing its
--     former owner decided can be committed.
--   * Every owner is among the hosts.
--
-- Reads    hosts, owners, fences
-- Writes   hosts, owners, fences, counts, wake:*, in:*
--
-- KEYS[1]  prefix of all keys
-- ARGV     host, life of the lease in ms (0: the host leaves), number of partitions to give back, these, number of
--          partitions wanted, these
-- Returns  {now in ms, 1 if the host had no lease before, {host, end of its lease in ms, …}, {partition, owner and fence, …}}

local P = KEYS[1]
local call = redis.call
local host, life = ARGV[1], tonumber(ARGV[2])
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- What a host whose lease is over was told is dropped, so nothing may be its own until it has read everything anew: even if
-- nobody wants its partitions, what it decided before must not be committed.
local ends = call('ZSCORE', P .. 'hosts', host)
local joined = life > 0 and (not ends or tonumber(ends) <= now)
local gone, any = {}, false
for _, other in ipairs(call('ZRANGEBYSCORE', P .. 'hosts', '-inf', string.format('%d', now))) do
  gone[other], any = true, true
end
if joined or life == 0 then
  gone[host], any = true, true
end
if any then
  local taken = 0
  local owners = call('HGETALL', P .. 'owners')
  for i = 1, #owners, 2 do
    local owner = string.match(owners[i + 1], '^%S+')
    if gone[owner] then
      call('HDEL', P .. 'owners', owners[i])
      if owner ~= host then
        taken = taken + 1
      end
    end
  end
  if taken > 0 then
    call('HINCRBY', P .. 'counts', 'takeovers', taken)
  end
  for other in pairs(gone) do
    call('ZREM', P .. 'hosts', other)
    call('UNLINK', P .. 'in:' .. other, P .. 'wake:' .. other)
  end
end
if life > 0 then
  call('ZADD', P .. 'hosts', string.format('%d', now + life), host)
end
local hosts = call('ZRANGE', P .. 'hosts', 0, -1, 'WITHSCORES')
local live = {}
for i = 1, #hosts, 2 do
  live[hosts[i]] = true
end

local at, given_back = 3, false
for _ = 1, tonumber(ARGV[at]) do
  at = at + 1
  local owner = call('HGET', P .. 'owners', ARGV[at])
  if owner and string.match(owner, '^%S+') == host then
    call('HDEL', P .. 'owners', ARGV[at])
    given_back = true
  end
end
at = at + 1
for _ = 1, tonumber(ARGV[at]) do
  at = at + 1
  local partition = ARGV[at]
  if call('HEXISTS', P .. 'owners', partition) == 0 then
    local fence = call('HINCRBY', P .. 'fences', partition, 1)
    call('HSET', P .. 'owners', partition, host .. ' ' .. string.format('%d', fence))
  end
end
-- The number of its last call stays for its time: a call may still be on its way on a connection that is no more.
if life == 0 then
  call('UNLINK', P .. 'running:' .. host)
end
-- Who comes, goes or gives something back changes what the others are to have.
if given_back or joined or life == 0 then
  for other in pairs(live) do
    if other ~= host then
      call('RPUSH', P .. 'in:' .. other, 'l')
      if call('EXISTS', P .. 'wake:' .. other) == 0 then
        call('RPUSH', P .. 'wake:' .. other, '1')
      end
    end
  end
end
return {string.format('%d', now), joined and 1 or 0, hosts, call('HGETALL', P .. 'owners')}
