-- Drops history that is past keeping: whole pieces, the oldest first; then, if a piece is larger than may be kept, the
-- oldest jobs in it.
--
-- Promises  mailboxes and dead letters are not touched; any host may call it at any time.
--
-- Reads    pieces, history, h:*
-- Writes   pieces, history, h:*
--
-- KEYS[1]  prefix of all keys
-- ARGV     now in ms, how long jobs are kept in ms, how many at least, how many at most, pieces to drop at most
-- Returns  1 if there is more to do

local P = KEYS[1]
local call = redis.call
local now, age, keep, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local kept = tonumber(call('HGET', P .. 'history', 'jobs') or 0)

local function drop(piece, jobs)
  local H = P .. 'h:' .. piece
  for _, service in ipairs(call('SMEMBERS', H .. ':services')) do
    call('UNLINK', H .. ':s:' .. service)
  end
  call('UNLINK', H, H .. ':jobs', H .. ':services', H .. ':unmatched', H .. ':runs')
  call('LPOP', P .. 'pieces')
  if jobs > 0 then
    call('HINCRBY', P .. 'history', 'jobs', -jobs)
  end
  if call('HGET', P .. 'history', 'piece') == piece then
    -- The number stays; what comes next begins another piece.
    call('HSET', P .. 'history', 'day', -1)
  end
end

for _ = 1, tonumber(ARGV[5]) do
  local piece = call('LINDEX', P .. 'pieces', 0)
  if not piece then
    return 0
  end
  local meta = call('HMGET', P .. 'h:' .. piece, 'jobs', 'last')
  local jobs, last = tonumber(meta[1] or 0), tonumber(meta[2] or 0)
  local many = kept - jobs >= keep and kept > keep
  if now - last > age or many then
    drop(piece, jobs)
    kept = kept - jobs
  elseif kept > most then
    local H = P .. 'h:' .. piece
    local ids = call('HKEYS', H .. ':jobs')
    table.sort(ids)
    local gone = math.min(#ids, kept - keep)
    for i = 1, gone do
      call('HDEL', H .. ':jobs', ids[i])
    end
    call('HINCRBY', H, 'jobs', -gone)
    call('HINCRBY', P .. 'history', 'jobs', -gone)
    return 0
  else
    return 0
  end
end
return 1
