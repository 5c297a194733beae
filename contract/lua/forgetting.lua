-- Forget a record that nothing works on, uses, or points to.
function command.forget()
  if not records_stand() then return { 'rebuilding', '' } end
  local id = argument.id
  local state = read(id, 'state')
  if not state then
    local is_left_out = redis.call('SISMEMBER', names.left_out, id) == 1
    return { is_left_out and 'rebuilding' or 'missing', '' }
  end
  if state == 'running' or (argument.only_terminal and not is_terminal(state)) then return { 'live', state } end
  if argument.users_record_of then
    for _, user in ipairs(redis.call('SMEMBERS', names.users_of .. id)) do
      local used_in = redis.call('HGET', argument.users_record_of .. user, 'state')
      if used_in and not is_terminal(used_in) then return { 'used', user } end
    end
  end
  local alias = find_alias(function(meaning) return meaning.job == id end)
  if alias then return { 'aliased', alias } end
  for _, checkpoint in ipairs(redis.call('LRANGE', names.checkpoints_of .. id, 0, -1)) do
    local digest = cjson.decode(checkpoint).digest
    if redis.call('HGET', names.digests, digest) == id then redis.call('HDEL', names.digests, digest) end
  end
  local uses = read(id, 'uses')
  if uses and argument.uses_users_of then redis.call('SREM', argument.uses_users_of .. uses, id) end
  local key = read(id, 'idempotency_key')
  if key and made_by(key) == id then redis.call('EXPIRE', names.request_of .. key, REQUEST_KEPT_SECONDS) end
  redis.call('DEL', record(id), names.events_of .. id, names.checkpoints_of .. id, names.users_of .. id)
  for _, index in ipairs({ names.all, names.queued, names.leased, names.servable, names.state_of .. state }) do
    redis.call('ZREM', index, id)
  end
  if names.deliveries then drop_deliveries(id .. ':own', id .. ':global') end
  redis.call('SREM', names.unmirrored, id)
  redis.call('SREM', names.left_out, id)
  redis.call('SET', names.turns, integer(now_us)) -- a full Redis would refuse this as the first write
  redis.call('PUBLISH', names.channel, record(id) .. ':0')
  return { 'forgotten', state }
end
