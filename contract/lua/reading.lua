-- When the order of the queue last changed, and records: each as its hash and its checkpoints.
function command.look_up()
  local answer = { now_ms, redis.call('GET', names.turns) }
  for _, id in ipairs(argument.ids) do
    answer[#answer + 1] = redis.call('HGETALL', record(id))
    answer[#answer + 1] = redis.call('LRANGE', names.checkpoints_of .. id, 0, -1)
  end
  return answer
end
