-- What a script sees: Redis' functions and Lua's libraries, none of which it can change.
--
-- Takes    the model's functions, and Lua's globals.
-- Returns  the scripts' globals, which are empty and show what is behind them; the table behind them, into which KEYS
--          and ARGV are put; and a function that calls a script.
local native, lua = ...

local function read_only(behind)
  return setmetatable({}, {
    __index = behind,
    __newindex = function() error('Attempt to modify a readonly table', 2) end,
    __metatable = false,
  })
end

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  call = native.call, pcall = native.pcall, sha1hex = native.sha1hex,
  log = function() end,
  setresp = function() end,
  replicate_commands = function() return true end,
}

function redis.error_reply(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then
    return {err = 'ERR wrong number or type of arguments'}
  end
  text = text:gsub('^%-', ''):gsub('[\r\n]+$', '')
  if not text:find(' ', 1, true) then text = 'ERR ' .. text end
  return {err = text}
end

function redis.status_reply(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then
    return {err = 'ERR wrong number or type of arguments'}
  end
  return {ok = text}
end

-- Redis has a generator of its own, so that a script's numbers are the same on every machine.
local math = {}
for name, value in pairs(lua.math) do math[name] = value end
math.randomseed = native.randomseed
function math.random(from, to)
  local r = native.random()
  if not from then return r end
  local last = to and 2 or 1
  if not to then from, to = 1, from end
  if from > to then error('bad argument #' .. last .. ' to \'random\' (interval is empty)', 2) end
  return math.floor(r * (to - from + 1)) + from
end

local bit = {tobit = native.to_bit}
for _, op in ipairs{'lshift', 'rshift', 'arshift', 'rol', 'ror'} do
  bit[op] = function(a, b) return native.bits(op, a, b) end
end
for _, op in ipairs{'band', 'bor', 'bxor'} do
  bit[op] = function(a, ...)
    a = native.to_bit(a)
    for i = 1, select('#', ...) do a = native.bits(op, a, (select(i, ...))) end
    return a
  end
end
function bit.bnot(a) return -1 - native.to_bit(a) end
function bit.bswap(a) return native.bits('bswap', a, 0) end
function bit.tohex(a, digits)
  digits = digits or 8
  local format = digits < 0 and '%08X' or '%08x'
  digits = lua.math.min(lua.math.abs(digits), 8)
  return lua.string.format(format, native.to_bit(a) % 4294967296):sub(9 - digits)
end

-- What redis.call throws is the model's own kind of value until somebody catches it.
local function thrown(err)
  local text = native.text(err)
  return text and {err = text} or err
end

-- What pcall catches of redis.call is the text of the error.
local function caught(done, err, ...)
  if done then return done, err, ... end
  err = thrown(err)
  if type(err) == 'table' and (type(err.err) == 'string' or type(err.err) == 'number') then err = err.err end
  return false, err
end

local behind = {
  pcall = function(...) return caught(lua.pcall(...)) end,
  xpcall = function(f, handle) return lua.xpcall(f, function(err) return handle(thrown(err)) end) end,
  redis = read_only(redis),
  string = read_only(lua.string), table = read_only(lua.table), math = read_only(math), bit = read_only(bit),
}
for _, name in ipairs{
  'assert', 'error', 'getmetatable', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'rawset', 'select',
  'setmetatable', 'tonumber', 'tostring', 'type', 'unpack', '_VERSION',
} do
  behind[name] = lua[name]
end
setmetatable(behind, {__index = function(_, name)
  error('Script attempted to access nonexistent global variable \'' .. tostring(name) .. '\'', 2)
end})
local globals = read_only(behind)
behind._G = globals

local function failed(err)
  err = thrown(err)
  if type(err) ~= 'table' then err = {err = 'ERR ' .. tostring(err)} end
  err.line = native.line()
  return err
end

return globals, behind, function(script) return lua.xpcall(script, failed) end
