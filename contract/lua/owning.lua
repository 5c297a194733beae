-- What an owner does with a record, from its claim until it lets go.

-- Why a caller may not report facts, or nil. A running record is never forgotten: if there is none, Redis was
-- emptied, and the owner continues until the record is rebuilt. A caller with the token confirms its claim.
local function confirm_or_object(id)
  local state = read(id, 'state')
  if not state then return 'unknown' end
  if state ~= 'running' or read(id, 'token') ~= argument.token then return 'lost' end
  redis.call('HDEL', record(id), 'unconfirmed')
end

local function grant(id)
  write(id, 'token', integer(math.max(tonumber(read(id, 'token')) + 1, now_us)),
    'owner', argument.owner, 'unconfirmed', '1', 'reports', '0')
  renew_lease(id)
  return redis.call('HGETALL', record(id))
end

local SERVED_KEPT_US = 30 * 86400 * 1000000 -- served longer ago counts as never served

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
  if argument.state == 'queued' then release(id, argument.reason)
  else move(id, argument.state, argument.reason, argument.error) end
  return 'accepted'
end
