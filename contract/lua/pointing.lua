-- Aliases, and the generators that they point to.

-- An alias with such a meaning, if there is one.
local function find_alias(is_meant)
  local aliases = redis.call('HGETALL', names.aliases)
  for i = 1, #aliases, 2 do
    if is_meant(cjson.decode(aliases[i + 1])) then return aliases[i] end
  end
end

-- The current revision of an alias; 0 if it does not exist.
local function alias_revision(alias)
  local now = redis.call('HGET', names.aliases, alias)
  return now and (cjson.decode(now).revision or 1) or 0
end

-- What an alias means, and what it meant before.
function command.meanings()
  local now = redis.call('HGET', names.aliases, argument.alias)
  return { now, redis.call('HGET', names.alias_histories, argument.alias) }
end

-- Point an alias at a generator, if the alias is still at the expected revision and the generator exists.
function command.point()
  if not records_stand() then return 'rebuilding' end
  if alias_revision(argument.alias) ~= argument.expected then return 'moved' end
  local exists = argument.job and redis.call('EXISTS', record(argument.job))
    or redis.call('HEXISTS', names.imports, argument.digest)
  if exists == 0 then
    local is_left_out = redis.call('SISMEMBER', names.left_out, argument.job or argument.digest) == 1
    return is_left_out and 'rebuilding' or 'gone'
  end
  redis.call('HSET', names.aliases, argument.alias, argument.now)
  redis.call('HSET', names.alias_histories, argument.alias, argument.before)
  redis.call('SREM', names.left_out, argument.alias)
  return 'pointed'
end

-- Forget an alias, if it is still at the expected revision.
function command.unpoint()
  if not records_stand() then return 'rebuilding' end
  if alias_revision(argument.alias) ~= argument.expected then return 'moved' end
  redis.call('HDEL', names.aliases, argument.alias)
  redis.call('HDEL', names.alias_histories, argument.alias)
  return 'pointed'
end

-- Re-create an alias from the volume; an existing one is left alone.
function command.restore_alias()
  if not may_restore(argument.alias) then return 0 end
  if redis.call('HSETNX', names.aliases, argument.alias, argument.now) == 0 then return 0 end
  redis.call('HSET', names.alias_histories, argument.alias, argument.before)
  return 1
end
