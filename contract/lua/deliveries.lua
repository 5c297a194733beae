-- Deliveries: each is the report of one job's end to one endpoint.

local function make_due(delivery, ms) start_timer(names.deliveries, names.deliveries_since, delivery, ms) end

local function drop_deliveries(...)
  redis.call('ZREM', names.deliveries, ...)
  redis.call('ZREM', names.deliveries_since, ...)
end

-- Queue the report of a job's end, due now, to its own webhook or the deployment's. Only gateways know
-- whether the deployment has one.
local function queue_delivery(id, endpoint)
  if endpoint == 'own' and not read(id, 'webhook') then return end
  make_due(id .. ':' .. endpoint, 0)
end

-- How long ago the job ended. While the clock is behind that, how long ago it was first seen to be.
local function age_ms(id)
  for _, since_ms in ipairs({ read(id, 'finished_ms') or now_ms, read(id, 'telling_since_ms') or now_ms + 1 }) do
    if tonumber(since_ms) <= now_ms then return now_ms - since_ms end
  end
  write(id, 'telling_since_ms', integer(now_ms))
  return 0
end

-- Lease due deliveries to the caller. One that is not settled before its lease expires is due again. At most
-- `most` are under way per receiver, per submitter to own endpoints, and to own endpoints in total, including
-- those that the caller already has, so that a slow receiver, even under many names, does not block the
-- others.
function command.take_deliveries()
  restart_timers_ahead(names.deliveries, names.deliveries_since)
  local taken, most = {}, argument.most
  local own, to, of = argument.own, argument.to_receiver, argument.of_submitter
  local lease = integer(now_ms + argument.lease_ms)
  for _, delivery in ipairs(redis.call('ZRANGEBYSCORE', names.deliveries, '-inf', integer(now_ms))) do
    local id, endpoint = string.match(delivery, '^(.+):(%l+)$')
    local is_own = endpoint == 'own'
    if not is_own or own < most.own then
      local receiver = is_own and read(id, 'webhook') or endpoint
      local submitter = read(id, 'submitter') or ''
      local there, his = to[receiver] or 0, of[submitter] or 0
      if there < most.receiver and (not is_own or his < most.submitter) then
        to[receiver] = there + 1
        if is_own then own, of[submitter] = own + 1, his + 1 end
        make_due(delivery, argument.lease_ms)
        taken[#taken + 1] = { id, endpoint, receiver, submitter, lease, integer(age_ms(id)) }
      end
    end
  end
  return taken
end

-- Settle a delivery, if the caller still holds its lease: done, or due again after `retry_ms`.
function command.settle_delivery()
  local id, delivery = argument.id, argument.id .. ':' .. argument.endpoint
  if tonumber(redis.call('ZSCORE', names.deliveries, delivery) or 0) ~= tonumber(argument.lease) then return 0 end
  if argument.retry_ms then make_due(delivery, argument.retry_ms) else drop_deliveries(delivery) end
  if argument.told then write(id, 'told', argument.told) end
  return 1
end
