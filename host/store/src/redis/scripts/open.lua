-- Opens a namespace: says what it is written by, and makes it if it is not there.
--
-- Reads    format
-- Writes   format, identity, ids: once
--
-- KEYS[1]  prefix of all keys
-- ARGV     the format that this host writes, a new identity, six characters that make the namespace's ids its own
-- Returns  {format, identity, now in ms}

local P = KEYS[1]
if redis.call('EXISTS', P .. 'format') == 0 then
  redis.call('SET', P .. 'format', ARGV[1])
  redis.call('SET', P .. 'identity', ARGV[2])
  redis.call('HSET', P .. 'ids', 'salt', ARGV[3])
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {redis.call('GET', P .. 'format'), redis.call('GET', P .. 'identity'), string.format('%d', now)}
