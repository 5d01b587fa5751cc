-- Opens a namespace: says what it is written by, and makes it if it is not there.
--
-- Promises  it fails, naming the command, if this user may not use one that the other scripts need: refused in the midst
--           of a commit, it would leave a half one.
--
-- Reads    format
-- Writes   format, identity, ids: once; probe, which is gone in the end
--
-- KEYS[1]  prefix of all keys
-- ARGV     the format that this host writes, a new identity, six characters that make the namespace's ids its own
-- Returns  {format, identity, now in ms}

local P = KEYS[1]
local probe = P .. 'probe'
local commands = {
  {'SET', 'a', 'PX', '1000'}, {'GET'}, {'APPEND', 'a'}, {'UNLINK'},
  {'HSET', 'a', '1'}, {'HGET', 'a'}, {'HMGET', 'a'}, {'HGETALL'}, {'HKEYS'}, {'HEXISTS', 'a'}, {'HINCRBY', 'a', '1'},
  {'HLEN'}, {'HDEL', 'a'},
  {'RPUSH', 'a', 'b', 'c'}, {'LRANGE', '0', '-1'}, {'LINDEX', '0'}, {'LPOP'}, {'LTRIM', '1', '-1'}, {'UNLINK'},
  {'SADD', 'a'}, {'SMEMBERS'}, {'UNLINK'},
  {'ZADD', '0', 'a'}, {'ZSCORE', 'a'}, {'ZCARD'}, {'ZRANGE', '0', '-1'}, {'ZRANGEBYSCORE', '-inf', '+inf'},
  {'ZREVRANGEBYLEX', '+', '-'}, {'ZREM', 'a'}, {'EXISTS'},
}
redis.call('UNLINK', probe)
for _, command in ipairs(commands) do
  local found = redis.pcall(command[1], probe, unpack(command, 2))
  if type(found) == 'table' and found.err then
    return redis.error_reply(found.err .. ' (' .. command[1] .. ')')
  end
end
if redis.call('EXISTS', P .. 'format') == 0 then
  redis.call('SET', P .. 'format', ARGV[1])
  redis.call('SET', P .. 'identity', ARGV[2])
  redis.call('HSET', P .. 'ids', 'salt', ARGV[3])
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {redis.call('GET', P .. 'format'), redis.call('GET', P .. 'identity'), string.format('%d', now)}
