-- Queue the report of a job's end, due now, to its own webhook or the deployment's. Only gateways know
-- whether the deployment has one.
local function queue_delivery(id, endpoint)
  if endpoint == 'own' and not read(id, 'webhook') then return end
  redis.call('ZADD', names.deliveries, integer(now_ms), id .. ':' .. endpoint)
end

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
  if to == 'succeeded' or to == 'failed' or to == 'cancelled' then
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

local function is_terminal(state) return state == 'succeeded' or state == 'failed' or state == 'cancelled' end

-- Why a caller may not report facts, or nil. A running record is never forgotten: if there is none, Redis was
-- emptied, and the owner continues until the record is rebuilt. A caller with the token confirms its claim.
local function confirm_or_object(id)
  local state = read(id, 'state')
  if not state then return 'unknown' end
  if state ~= 'running' or read(id, 'token') ~= argument.token then return 'lost' end
  redis.call('HDEL', record(id), 'unconfirmed')
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

-- The reply for a buried record.
local function burial(id)
  local told = { 'state', 'error', 'token', 'attempt', 'created_us' }
  for i, field in ipairs(told) do told[i] = read(id, field) or '' end
  return { id, unpack(told) }
end

-- The owner of a record is dead: fence it, then release the record, or fail it if too many owners died of
-- it without progress. Failing takes precedence over a requested pause. An unconfirmed claim is not counted:
-- its reply may be lost, and an owner does nothing with the record before it confirms.
local function bury(id, reason)
  write(id, 'buried_token', read(id, 'token'))
  redis.call('HINCRBY', record(id), 'token', 1)
  local deaths = read(id, 'unconfirmed') and 0 or redis.call('HINCRBY', record(id), 'deaths', 1)
  if read(id, 'want') ~= 'cancel' and deaths >= argument.max_deaths then
    move(id, 'failed', reason, cjson.encode({
      code = 'died_repeatedly',
      detail = 'The process that worked on this died ' .. deaths .. ' times without saving progress; last: ' .. reason
    }))
  else release(id, reason) end
  return burial(id)
end
