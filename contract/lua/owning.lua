function command.beat()
  local id = argument.id
  local no = confirm_or_object(id)
  if no then return no end
  renew_lease(id)
  if argument.progress then
    write(id, 'progress', argument.progress)
    append_event(id, 'progress', argument.progress)
  end
  return read(id, 'want')
end

-- Facts from the owner: fields, a checkpoint for the list, an event; each optional. Owners number their
-- reports and repeat one whose reply was lost: it counts once. So does a checkpoint.
function command.report()
  local id = argument.id
  local no = confirm_or_object(id)
  if no then return no end
  if argument.number <= tonumber(read(id, 'reports') or '0') then return 'accepted' end
  write(id, 'reports', argument.number)
  for field, value in pairs(argument.fields) do write(id, field, value) end
  if argument.checkpoint then
    local digest = cjson.decode(argument.checkpoint).digest
    if redis.call('HGET', names.digests, digest) == id then return 'accepted' end
    redis.call('RPUSH', names.checkpoints_of .. id, argument.checkpoint)
    redis.call('HSET', names.digests, digest, id)
  end
  if argument.event then append_event(id, argument.event, argument.data) end
  return 'accepted'
end

function command.leave()
  local id = argument.id
  local no = confirm_or_object(id)
  if no then return no end
  for field, value in pairs(argument.fields) do write(id, field, value) end
  if argument.state == 'queued' then release(id, argument.reason)
  else move(id, argument.state, argument.reason, argument.error) end
  return 'accepted'
end

-- The owner saw its child die. It repeats this if the reply was lost.
function command.died()
  local id = argument.id
  if read(id, 'buried_token') == argument.token and read(id, 'state') ~= 'running' then
    return burial(id)
  end
  local no = confirm_or_object(id)
  if no then return { no } end
  return bury(id, argument.reason)
end

-- A lease that expires later than its length from now was written before the clock was set back.
local function shorten_leases()
  local leased = redis.call('ZRANGE', names.leased, 0, -1, 'WITHSCORES')
  for i = 1, #leased, 2 do
    local lease_ms = redis.call('HGET', names.lease_ms, leased[i])
    if lease_ms and tonumber(leased[i + 1]) > now_ms + lease_ms then lease(leased[i], lease_ms) end
  end
end

-- Bury records whose leases have expired, or everything that a slot owned before it was restarted.
function command.reap()
  local buried = {}
  if argument.owner then
    for _, id in ipairs(redis.call('ZRANGE', names.leased, 0, -1)) do
      if read(id, 'owner') == argument.owner then
        buried[#buried + 1] = bury(id, 'the worker ' .. argument.owner .. ' was restarted')
      end
    end
  else
    shorten_leases()
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', names.leased, '-inf', integer(now_ms))) do
      buried[#buried + 1] = bury(id, 'the worker ' .. (read(id, 'owner') or '?') .. ' did not renew its lease')
    end
  end
  return buried
end
