-- Imported generators.

-- Remember an imported generator.
function command.add_import()
  if not records_stand() then return 0 end
  redis.call('HSETNX', names.imports, argument.digest, argument.entry)
  redis.call('SREM', names.left_out, argument.digest)
  return 1
end

function command.restore_import()
  if not may_restore(argument.digest) then return 0 end
  return redis.call('HSETNX', names.imports, argument.digest, argument.entry)
end

-- Forget an imported generator that no alias points to.
function command.forget_import()
  if not records_stand() then return { 'rebuilding', '' } end
  local alias = find_alias(function(meaning)
    return meaning.digest == argument.digest and not (meaning.job and meaning.job ~= cjson.null)
  end)
  if alias then return { 'aliased', alias } end
  redis.call('SREM', names.left_out, argument.digest)
  if redis.call('HDEL', names.imports, argument.digest) == 0 then return { 'missing', '' } end
  return { 'forgotten', '' }
end
