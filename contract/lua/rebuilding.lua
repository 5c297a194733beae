-- The rebuild of the records from the volume.

-- Why a record is not to be re-created from the volume. An existing one is left alone. If it may never have been
-- queued, another one created by the same request takes precedence. The files of a withdrawn one are being removed.
-- One that is tried again, but was not left out any more, has been restored meanwhile, and perhaps deleted.
local function why_not_restored(id)
  if redis.call('EXISTS', record(id)) == 1 then return 'exists' end
  if argument.is_left_out and redis.call('SISMEMBER', names.left_out, id) == 0 then return 'settled' end
  if redis.call('EXISTS', names.withdrawn_of .. id) == 1 then return 'withdrawn' end
  if argument.request and not argument.was_queued then
    local made = made_by(argument.request.key)
    if made and made ~= id then return 'twin' end
  end
end

-- Re-create a record from the volume. Either way, it is no longer left out.
function command.restore()
  local id, fields = argument.id, argument.fields
  local why_not = why_not_restored(id)
  if why_not then
    redis.call('SREM', names.left_out, id)
    return why_not
  end
  for field, value in pairs(fields) do write(id, field, value) end
  redis.call('ZADD', names.all, fields.created_us, id)
  if argument.uses_users then redis.call('SADD', argument.uses_users, id) end
  remember_request(id, argument.request)
  for _, checkpoint in ipairs(argument.checkpoints) do
    redis.call('RPUSH', names.checkpoints_of .. id, checkpoint)
    redis.call('HSET', names.digests, cjson.decode(checkpoint).digest, id)
  end
  redis.call('ZADD', names.state_of .. fields.state, fields.created_us, id)
  if fields.state == 'queued' then enqueue(id) end
  if fields.state == 'running' then renew_lease(id) end
  if fields.state == 'succeeded' and fields.checkpoint then
    redis.call('ZADD', names.servable, (fields.finished_ms or '0') .. '000', id)
  end
  for _, endpoint in ipairs(argument.untold) do queue_delivery(id, endpoint) end
  for _, checkpoint in ipairs(argument.unheard) do append_event(id, 'checkpoint', checkpoint) end
  redis.call('SREM', names.left_out, id)
  redis.call('SET', names.turns, integer(now_us))
  local want = fields.want ~= 'run' and fields.want or nil
  append_event(id, 'state', cjson.encode({ state = fields.state, want = want, reason = argument.reason }))
  return 'restored'
end

-- Remember what cannot be re-created now: a record, with the request that created it, an alias or an import. One that
-- is tried again has been restored or deleted meanwhile if it was not left out any more. Each try renews the day for
-- which the request is remembered, until nothing is left of the record.
function command.leave_out()
  local name = argument.name
  if redis.call('EXISTS', record(name)) == 1 then return 0 end
  if argument.is_left_out and redis.call('SISMEMBER', names.left_out, name) == 0 then return 0 end
  remember_request(name, argument.request, REQUEST_KEPT_SECONDS)
  return redis.call('SADD', names.left_out, name)
end

-- Whether to re-create an alias or import, which then is no longer left out. One that is tried again, but was not left
-- out any more, has been replaced or deleted meanwhile.
local function may_restore(name)
  local was_left_out = redis.call('SREM', names.left_out, name) == 1
  return was_left_out or not argument.is_left_out
end

-- Unless the records stand, begin a new epoch. They do not if the volume has had an epoch that is unknown here: then
-- they were rebuilt elsewhere, and all that is here is older. It is removed, as if this Redis had been emptied.
function command.begin_rebuild()
  local found = 'emptied'
  if records_stand() then
    if argument.of_volume == '' or redis.call('SISMEMBER', names.epochs, argument.of_volume) == 1 then
      redis.call('DEL', names.rebuilding)
      return 'stands'
    end
    found = 'outdated'
    local cursor, keys = '0', nil
    repeat
      cursor, keys = unpack(redis.call('SCAN', cursor, 'MATCH', argument.pattern, 'COUNT', 1000))
      for _, key in ipairs(keys) do
        if key ~= names.rebuilding then redis.call('UNLINK', key) end
      end
    until cursor == '0'
  end
  redis.call('SADD', names.epochs, argument.epoch)
  if argument.of_volume ~= '' then redis.call('SADD', names.epochs, argument.of_volume) end
  return found
end

-- Nothing but what is done for every command of a rebuild: extend its lock.
function command.go_on() return 1 end

-- Declare that the records stand.
function command.end_rebuild()
  redis.call('SET', names.epoch, argument.epoch)
  return redis.call('DEL', names.rebuilding)
end
