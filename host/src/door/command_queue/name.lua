-- Names the queue for one store's count of claims.
--
-- Reads    the claim's state KEYS[2] (hash).
-- Writes   the name ARGV[1] into that state, if it has none.
-- Returns  the name that the state has now.
-- Promises The name stays for as long as the state does, wherever the server may move.
local claim, state = KEYS[1], KEYS[2]

-- Changes nothing: see claim.lua.
redis.call('LTRIM', claim, 0, -1)
redis.call('HSETNX', state, 'door', ARGV[1])
return redis.call('HGET', state, 'door')
