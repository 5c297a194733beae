-- Whether a record, alias or import exists, or why that is unknown. `of_volume`: the volume's epoch, as in
-- `begin_rebuild`.
function command.existence()
  local name = argument.name
  local is_known = argument.of_volume == '' or redis.call('SISMEMBER', names.epochs, argument.of_volume) == 1
  if not (records_stand() and is_known) then return 'rebuilding' end
  local is_there = redis.call('EXISTS', record(name)) + redis.call('HEXISTS', names.aliases, name)
    + redis.call('HEXISTS', names.imports, name) > 0
  if is_there then return 'exists' end
  return redis.call('SISMEMBER', names.left_out, name) == 1 and 'left_out' or 'missing'
end

-- When the order of the queue last changed, and records: each as its hash and its checkpoints.
function command.look_up()
  local answer = { now_ms, redis.call('GET', names.turns) }
  for _, id in ipairs(argument.ids) do
    answer[#answer + 1] = redis.call('HGETALL', record(id))
    answer[#answer + 1] = redis.call('LRANGE', names.checkpoints_of .. id, 0, -1)
  end
  return answer
end
