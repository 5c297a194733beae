-- What becomes of a record whose owner died.

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
