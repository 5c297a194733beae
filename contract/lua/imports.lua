-- Imported generators.

-- Remember an imported generator.
function command.add_import()
  if not records_stand() then return 0 end
  redis.call('HSETNX', names.imports, argument.digest, argument.entry)
  redis.call('SREM', names.imports_left_out, argument.digest)
  return 1
end

function command.restore_import()
  local was_left_out = redis.call('SREM', names.imports_left_out, argument.digest) == 1
  if argument.is_left_out and not was_left_out then return 0 end
  return redis.call('HSETNX', names.imports, argument.digest, argument.entry)
end

function command.leave_out_import() return redis.call('SADD', names.imports_left_out, argument.digest) end

-- Forget an imported generator that no alias points to.
function command.forget_import()
  if not records_stand() then return { 'rebuilding', '' } end
  local alias = find_alias(function(meaning)
    return meaning.digest == argument.digest and not (meaning.job and meaning.job ~= cjson.null)
  end)
  if alias then return { 'aliased', alias } end
  redis.call('SREM', names.imports_left_out, argument.digest)
  if redis.call('HDEL', names.imports, argument.digest) == 0 then return { 'missing', '' } end
  return { 'forgotten', '' }
end
