local function grant(id)
  write(id, 'token', integer(math.max(tonumber(read(id, 'token')) + 1, now_us)),
    'owner', argument.owner, 'unconfirmed', '1', 'reports', '0')
  renew_lease(id)
  return redis.call('HGETALL', record(id))
end

-- Claim the next queued record that fits and that this owner has not set aside, not "the one in the message".
-- A claiming owner holds nothing: if a record is leased to it, the reply was lost, and the record is granted
-- again.
function command.claim()
  for _, id in ipairs(redis.call('ZRANGE', names.leased, 0, -1)) do
    if read(id, 'owner') == argument.owner then return grant(id) end
  end
  local id, is_set_aside = nil, {}
  for _, other in ipairs(argument.set_aside) do is_set_aside[other] = true end
  in_turn(function(candidate)
    if is_set_aside[candidate] or tonumber(read(candidate, 'devices')) > argument.devices then return end
    id = candidate
    return 'enough'
  end)
  if not id then return {} end
  redis.call('HINCRBY', record(id), 'attempt', 1)
  if not read(id, 'started_ms') then write(id, 'started_ms', integer(now_ms)) end
  redis.call('ZADD', names.served, integer(now_us), read(id, 'submitter') or '')
  redis.call('ZREMRANGEBYSCORE', names.served, '-inf', integer(now_us - SERVED_KEPT_US))
  move(id, 'running')
  return grant(id)
end
