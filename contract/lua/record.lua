-- The state and the lease of a record.

-- The only way in which a state changes: indexes, fields, event, deliveries.
local function move(id, to, reason, err)
  local from, created = read(id, 'state'), read(id, 'created_us')
  if from then redis.call('ZREM', names.state_of .. from, id) end
  redis.call('ZADD', names.state_of .. to, created, id)
  if to == 'queued' then enqueue(id) else redis.call('ZREM', names.queued, id) end
  redis.call('SET', names.turns, integer(now_us))
  if to ~= 'running' then
    redis.call('ZREM', names.leased, id)
    redis.call('HDEL', names.lease_ms, id)
    redis.call('HDEL', record(id), 'owner', 'unconfirmed', 'lease_until_ms', 'waiting_for')
  end
  write(id, 'state', to)
  if to == 'queued' or to == 'running' then redis.call('HDEL', record(id), 'error') end
  if to == 'queued' or to == 'paused' then write(id, 'want', 'run') end
  if is_terminal(to) then
    write(id, 'finished_ms', integer(now_ms))
    if names.deliveries then
      queue_delivery(id, 'own')
      queue_delivery(id, 'global')
    end
  end
  if to == 'succeeded' and read(id, 'checkpoint') then redis.call('ZADD', names.servable, integer(now_us), id) end
  local data = { state = to }
  if reason then data.reason = reason end
  if err then
    write(id, 'error', err)
    data.error = cjson.decode(err)
  end
  append_event(id, 'state', cjson.encode(data))
end

local function lease(id, lease_ms)
  local lease_until = integer(now_ms + lease_ms)
  write(id, 'lease_until_ms', lease_until)
  redis.call('HSET', names.lease_ms, id, lease_ms)
  redis.call('ZADD', names.leased, lease_until, id)
end

local function renew_lease(id) lease(id, argument.lease_ms) end

-- Move a record that its owner releases without having finished.
local function release(id, reason)
  local want = read(id, 'want')
  if want == 'cancel' then move(id, 'cancelled', reason)
  elseif want == 'pause' then move(id, 'paused', reason)
  else move(id, 'queued', reason) end
end
