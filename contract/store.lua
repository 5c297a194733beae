-- All transitions of a record. Redis runs one script at a time, so each is atomic. Times are Redis TIME,
-- never a client's. ARGV: key names as JSON, command, arguments as JSON.
--
-- A record is a hash: state, want, token, owner, unconfirmed, lease_until_ms, attempt, deaths, revision, devices,
-- spec, submitter, priority, webhook, created_us, started_ms, finished_ms, progress, snapshot, checkpoint,
-- environment, result, error, told, waiting_for, judged_images_seen, previewed_images_seen.
-- The token is for fencing: only the process with the newest one may write facts.

local names = cjson.decode(ARGV[1])
local argument = cjson.decode(ARGV[3])

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)

local function integer(number) return string.format('%.0f', number) end
local function record(id) return names.record_of .. id end
local function read(id, field) return redis.call('HGET', record(id), field) or nil end
local function write(id, ...) redis.call('HSET', record(id), ...) end

local function append_event(id, kind_of_event, data)
  local revision = redis.call('HINCRBY', record(id), 'revision', 1)
  redis.call('XADD', names.events_of .. id, revision .. '-0',
    'type', kind_of_event, 'at_ms', integer(now_ms), 'data', data)
  redis.call('SADD', names.unmirrored, id)
  redis.call('PUBLISH', names.channel, record(id) .. ':' .. revision)
end

local LEVEL_OF = { high = -1, normal = 0, low = 1 }
local SERVED_KEPT_US = 30 * 86400 * 1000000 -- served longer ago counts as never served
local LEVEL_US = 2 ^ 51 -- more than any created_us until the year 2041, and twice that is exact in a double

-- By priority, then first come, first served.
local function enqueue(id)
  local level = LEVEL_OF[read(id, 'priority') or 'normal']
  redis.call('ZADD', names.queued, integer(level * LEVEL_US + read(id, 'created_us')), id)
end

-- Whether `one` is served before `other`: two lines, each the queued records of one submitter in order, of
-- which the one at `next` is its next.
local function goes_before(one, other)
  local mine, theirs = one[one.next], other[other.next]
  if mine.level ~= theirs.level then return mine.level < theirs.level end
  if one.running ~= other.running then return one.running < other.running end
  if one.served ~= other.served then return one.served < other.served end
  return mine.place < theirs.place
end

-- Restore a binary heap of lines, in which only the one at `at` may be too high.
local function sift_down(heap, at)
  local line = heap[at]
  while true do
    local child = 2 * at
    if heap[child + 1] and goes_before(heap[child + 1], heap[child]) then child = child + 1 end
    if not heap[child] or goes_before(line, heap[child]) then break end
    heap[at], at = heap[child], child
  end
  heap[at] = line
end

-- The lines of all queued records, as a heap.
local function lines_in_turn()
  local heap, line_of = {}, {}
  local function find_line(id)
    local submitter = read(id, 'submitter') or ''
    if not line_of[submitter] then
      local served = tonumber(redis.call('ZSCORE', names.served, submitter) or 0)
      line_of[submitter] = { running = 0, served = served, next = 1 }
    end
    return line_of[submitter]
  end
  for _, id in ipairs(redis.call('ZRANGE', names.leased, 0, -1)) do
    local line = find_line(id)
    line.running = line.running + 1
  end
  local queued = redis.call('ZRANGE', names.queued, 0, -1, 'WITHSCORES')
  for i = 1, #queued, 2 do
    local line = find_line(queued[i])
    if #line == 0 then heap[#heap + 1] = line end
    line[#line + 1] = { id = queued[i], level = math.floor(queued[i + 1] / LEVEL_US), place = i }
  end
  for at = math.floor(#heap / 2), 1, -1 do sift_down(heap, at) end
  return heap
end

-- Call `take` with each queued record in turn, until it returns 'enough'. Within a priority, the submitter
-- with the fewest running records comes first; among equals, the one served longest ago. A record for which
-- `take` returns a value counts as served; one for which it returns nil is skipped.
local function in_turn(take)
  local heap, last_us = lines_in_turn(), now_us
  while heap[1] do
    local line = heap[1]
    local answer = take(line[line.next].id)
    if answer == 'enough' then return end
    if answer then
      last_us = last_us + 1
      line.running, line.served = line.running + 1, last_us
    end
    line.next = line.next + 1
    if not line[line.next] then
      heap[1] = heap[#heap]
      heap[#heap] = nil
    end
    if heap[2] then sift_down(heap, 1) end
  end
end

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

local command = {}

local REQUEST_KEPT_SECONDS = 86400

-- Remember which record a request created, until a day after that record is forgotten.
local function remember_request(request)
  if request then redis.call('SET', names.request_of .. request.key, request.made, 'NX') end
end

function command.submit()
  local id = argument.id
  if redis.call('EXISTS', record(id)) == 1 then return { 'exists', read(id, 'state') } end
  if redis.call('EXISTS', names.withdrawn_of .. id) == 1 then return { 'withdrawn', '' } end
  if argument.request then
    if redis.call('EXISTS', names.epoch) == 0 then return { 'rebuilding', '' } end
    local made = redis.call('GET', names.request_of .. argument.request.key)
    if made then return { 'known', made } end
  end
  if argument.uses then
    local state = redis.call('HGET', argument.uses.record, 'state')
    if state ~= 'succeeded' then return { 'unusable', state or 'missing' } end
    redis.call('SADD', argument.uses.users, id)
    write(id, 'uses', argument.uses.id)
  end
  write(id, 'id', id, 'want', 'run', 'token', '0', 'attempt', '0', 'deaths', '0', 'revision', '0',
    'devices', argument.devices, 'spec', argument.spec, 'created_us', integer(now_us))
  for field, value in pairs(argument.fields) do write(id, field, value) end
  remember_request(argument.request)
  redis.call('ZADD', names.all, integer(now_us), id)
  move(id, 'queued')
  return { 'submitted', 'queued' }
end

-- The files of a submission are to be removed, so `submit` must fail if it arrives later. Refused once the
-- record is queued; and, unless its submitter asks, while it may have been queued before Redis was emptied.
function command.withdraw()
  local id = argument.id
  if redis.call('EXISTS', record(id)) == 1 then return 0 end
  if not argument.by_submitter then
    if redis.call('EXISTS', names.epoch) == 0 then return 0 end
    if redis.call('SISMEMBER', names.left_out, id) == 1 then return 0 end
  end
  redis.call('SET', names.withdrawn_of .. id, '', 'EX', REQUEST_KEPT_SECONDS)
  return 1
end

-- Re-create a record from the volume; an existing one is left alone. If it may never have been queued,
-- another one created by the same request takes precedence.
function command.restore()
  local id, fields = argument.id, argument.fields
  if redis.call('EXISTS', record(id)) == 1 then return 'exists' end
  if argument.request and not argument.was_queued then
    local made = redis.call('GET', names.request_of .. argument.request.key)
    if made and cjson.decode(made).id ~= id then return 'twin' end
  end
  for field, value in pairs(fields) do write(id, field, value) end
  redis.call('ZADD', names.all, fields.created_us, id)
  if argument.uses_users then redis.call('SADD', argument.uses_users, id) end
  remember_request(argument.request)
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
  redis.call('SET', names.turns, integer(now_us))
  append_event(id, 'state', cjson.encode({ state = fields.state, reason = 'rebuilt from the volume' }))
  return 'restored'
end

-- Remember a record that cannot be re-created now, and the request that created it.
function command.leave_out()
  remember_request(argument.request)
  return redis.call('SADD', names.left_out, argument.id)
end

-- Unless the records stand, begin a new epoch. They do not if the volume has had an epoch that is unknown here: then
-- they were rebuilt elsewhere, and all that is here is older. It is removed, as if this Redis had been emptied.
function command.begin_rebuild()
  local found = 'emptied'
  if redis.call('EXISTS', names.epoch) == 1 then
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

-- Declare that the records stand.
function command.end_rebuild()
  redis.call('SET', names.epoch, argument.epoch)
  return redis.call('DEL', names.rebuilding)
end

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

-- When the order last changed, then the queue in that order.
function command.turns()
  local answer = { redis.call('GET', names.turns) or '0' }
  in_turn(function(id)
    answer[#answer + 1] = id
    return 'served'
  end)
  return answer
end

-- When the order of the queue last changed, and records: each as its hash and its checkpoints.
function command.look_up()
  local answer = { now_ms, redis.call('GET', names.turns) }
  for _, id in ipairs(argument.ids) do
    answer[#answer + 1] = redis.call('HGETALL', record(id))
    answer[#answer + 1] = redis.call('LRANGE', names.checkpoints_of .. id, 0, -1)
  end
  return answer
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

-- The gateway's intent. A record without an owner moves at once; an owned one, when its owner learns of it.
function command.control()
  local id, want = argument.id, argument.want
  local state, wanted = read(id, 'state'), read(id, 'want')
  if not state then return { 'missing', '' } end
  local function accept(to)
    if to then move(id, to, argument.reason) end
    return { 'accepted', read(id, 'state') }
  end
  local function intend()
    write(id, 'want', want)
    append_event(id, 'state', cjson.encode({ state = 'running', want = want }))
    return accept()
  end
  if want == 'cancel' then
    if state == 'cancelled' then return accept() end
    if is_terminal(state) then return { 'conflict', state } end
    if state ~= 'running' then return accept('cancelled') end
    if wanted == 'cancel' then return accept() end
    return intend()
  end
  if is_terminal(state) then return { 'conflict', state } end
  if state == 'running' and wanted == 'cancel' then return { 'conflict', 'cancelling' } end
  if want == 'pause' then
    if state == 'queued' then return accept('paused') end
    if state == 'paused' or wanted == 'pause' then return accept() end
    return intend()
  end
  if state == 'paused' then return accept('queued') end
  if state == 'running' and wanted == 'pause' then return intend() end
  return accept()
end

-- Forget a record that nothing works on, uses, or points to.
function command.forget()
  if redis.call('EXISTS', names.epoch) == 0 then return { 'rebuilding', '' } end
  local id = argument.id
  local state = read(id, 'state')
  if not state then return { 'missing', '' } end
  if state == 'running' or (argument.only_terminal and not is_terminal(state)) then return { 'live', state } end
  if argument.users_record_of then
    for _, user in ipairs(redis.call('SMEMBERS', names.users_of .. id)) do
      local used_in = redis.call('HGET', argument.users_record_of .. user, 'state')
      if used_in and not is_terminal(used_in) then return { 'used', user } end
    end
  end
  local aliases = redis.call('HGETALL', names.aliases)
  for i = 1, #aliases, 2 do
    if cjson.decode(aliases[i + 1]).job == id then return { 'aliased', aliases[i] } end
  end
  for _, checkpoint in ipairs(redis.call('LRANGE', names.checkpoints_of .. id, 0, -1)) do
    local digest = cjson.decode(checkpoint).digest
    if redis.call('HGET', names.digests, digest) == id then redis.call('HDEL', names.digests, digest) end
  end
  local uses = read(id, 'uses')
  if uses and argument.uses_users_of then redis.call('SREM', argument.uses_users_of .. uses, id) end
  local key = read(id, 'idempotency_key')
  if key then redis.call('EXPIRE', names.request_of .. key, REQUEST_KEPT_SECONDS) end
  redis.call('DEL', record(id), names.events_of .. id, names.checkpoints_of .. id, names.users_of .. id)
  for _, index in ipairs({ names.all, names.queued, names.leased, names.servable, names.state_of .. state }) do
    redis.call('ZREM', index, id)
  end
  if names.deliveries then redis.call('ZREM', names.deliveries, id .. ':own', id .. ':global') end
  redis.call('SREM', names.unmirrored, id)
  redis.call('SET', names.turns, integer(now_us)) -- a full Redis would refuse this as the first write
  redis.call('PUBLISH', names.channel, record(id) .. ':0')
  return { 'forgotten', state }
end

-- The current revision of an alias; 0 if it does not exist.
local function alias_revision(alias)
  local now = redis.call('HGET', names.aliases, alias)
  return now and (cjson.decode(now).revision or 1) or 0
end

-- What an alias means, and what it meant before.
function command.meanings()
  local now = redis.call('HGET', names.aliases, argument.alias)
  return { now, redis.call('HGET', names.alias_histories, argument.alias) }
end

-- Point an alias at a generator, if the alias is still at the expected revision and the generator exists.
function command.point()
  if redis.call('EXISTS', names.epoch) == 0 then return 'rebuilding' end
  if alias_revision(argument.alias) ~= argument.expected then return 'moved' end
  local stands, left_out
  if argument.job then
    stands = redis.call('EXISTS', record(argument.job))
    left_out = redis.call('SISMEMBER', names.left_out, argument.job)
  else
    stands = redis.call('HEXISTS', names.imports, argument.digest)
    left_out = redis.call('SISMEMBER', names.imports_left_out, argument.digest)
  end
  if stands == 0 then return left_out == 1 and 'rebuilding' or 'gone' end
  redis.call('HSET', names.aliases, argument.alias, argument.now)
  redis.call('HSET', names.alias_histories, argument.alias, argument.before)
  redis.call('SREM', names.aliases_left_out, argument.alias)
  return 'pointed'
end

-- Forget an alias, if it is still at the expected revision.
function command.unpoint()
  if redis.call('EXISTS', names.epoch) == 0 then return 'rebuilding' end
  if alias_revision(argument.alias) ~= argument.expected then return 'moved' end
  redis.call('HDEL', names.aliases, argument.alias)
  redis.call('HDEL', names.alias_histories, argument.alias)
  return 'pointed'
end

-- Re-create an alias from the volume; an existing one is left alone.
function command.restore_alias()
  local was_left_out = redis.call('SREM', names.aliases_left_out, argument.alias) == 1
  if argument.is_left_out and not was_left_out then return 0 end
  if redis.call('HSETNX', names.aliases, argument.alias, argument.now) == 0 then return 0 end
  redis.call('HSET', names.alias_histories, argument.alias, argument.before)
  return 1
end

-- Remember an alias that cannot be re-created now.
function command.leave_out_alias() return redis.call('SADD', names.aliases_left_out, argument.alias) end

-- Remember an imported generator.
function command.add_import()
  if redis.call('EXISTS', names.epoch) == 0 then return 0 end
  redis.call('HSETNX', names.imports, argument.digest, argument.entry)
  redis.call('SREM', names.imports_left_out, argument.digest)
  return 1
end

function command.restore_import()
  local was_left_out = redis.call('SREM', names.imports_left_out, argument.digest) == 1
  if argument.is_left_out and not was_left_out then return 0 end
  return redis.call('HSETNX', names.imports, argument.digest, argument.entry)
end

function command.leave_out_import() return redis.call('SADD', names.imports_left_out, argument.digest) end

-- Forget an imported generator that no alias points to.
function command.forget_import()
  if redis.call('EXISTS', names.epoch) == 0 then return { 'rebuilding', '' } end
  local aliases = redis.call('HGETALL', names.aliases)
  for i = 1, #aliases, 2 do
    local meaning = cjson.decode(aliases[i + 1])
    if meaning.digest == argument.digest and not (meaning.job and meaning.job ~= cjson.null) then
      return { 'aliased', aliases[i] }
    end
  end
  redis.call('SREM', names.imports_left_out, argument.digest)
  if redis.call('HDEL', names.imports, argument.digest) == 0 then return { 'missing', '' } end
  return { 'forgotten', '' }
end

-- Lease due deliveries to the caller. One that is not settled before its lease expires is due again. At most
-- `most` are under way per receiver, per submitter to own endpoints, and to own endpoints in total, including
-- those that the caller already has, so that a slow receiver, even under many names, does not block the
-- others.
function command.take_deliveries()
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
        redis.call('ZADD', names.deliveries, lease, delivery)
        local age_ms = integer(now_ms - (read(id, 'finished_ms') or now_ms))
        taken[#taken + 1] = { id, endpoint, receiver, submitter, lease, age_ms }
      end
    end
  end
  return taken
end

-- Settle a delivery, if the caller still holds its lease: done, or due again after `retry_ms`.
function command.settle_delivery()
  local id, delivery = argument.id, argument.id .. ':' .. argument.endpoint
  if tonumber(redis.call('ZSCORE', names.deliveries, delivery) or 0) ~= tonumber(argument.lease) then return 0 end
  if argument.retry_ms then redis.call('ZADD', names.deliveries, integer(now_ms + argument.retry_ms), delivery)
  else redis.call('ZREM', names.deliveries, delivery) end
  if argument.told then write(id, 'told', argument.told) end
  return 1
end

local EVENTS_KEPT_OF_ENDED = 30 -- per job, for ever, and there are thousands

-- The events up to this revision are safe on the volume, so trim all but the newest `keep`.
function command.mirrored()
  local id, keep = argument.id, argument.keep
  if read(id, 'revision') == argument.revision then
    redis.call('SREM', names.unmirrored, id)
    if is_terminal(read(id, 'state')) then keep = math.min(keep, EVENTS_KEPT_OF_ENDED) end
  end
  local oldest = tonumber(argument.revision) - keep
  if oldest > 0 then redis.call('XTRIM', names.events_of .. id, 'MINID', integer(oldest) .. '-0') end
  return 1
end

-- Announce a worker. A sampler also learns whether its renderer is the deployment's.
function command.hello()
  local name = argument.name
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', names.workers, '-inf', integer(now_ms - 3600000))) do
    redis.call('ZREM', names.workers, gone)
    redis.call('HDEL', names.worker_facts, gone)
  end
  redis.call('ZADD', names.workers, integer(now_ms + argument.ttl_ms), name)
  redis.call('HSET', names.worker_facts, name, argument.facts)
  local mine = cjson.decode(argument.facts).renderer
  if not mine or mine == cjson.null then return 'active' end
  local active = redis.call('GET', names.renderer)
  if active == mine then return 'active' end
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', names.workers, integer(now_ms), '+inf')) do
    local facts = redis.call('HGET', names.worker_facts, other)
    if other ~= name and facts and cjson.decode(facts).renderer == active then return active end
  end
  redis.call('SET', names.renderer, mine)
  return 'active'
end

function command.goodbye()
  redis.call('ZREM', names.workers, argument.name)
  redis.call('HDEL', names.worker_facts, argument.name)
  return 1
end

function command.workers()
  local alive = redis.call('ZRANGEBYSCORE', names.workers, integer(now_ms), '+inf')
  if #alive == 0 then return {} end
  return redis.call('HMGET', names.worker_facts, unpack(alive))
end

-- A full Redis refuses the first write of a script if it takes memory, but none after it. What these add is bounded by
-- the work that runs, and refusing them would cost it: leases would lapse, and what is finished would be done again. So
-- they begin with a write that takes none: no record has an empty id.
local GOES_ON_IN_A_FULL_REDIS = {
  beat = true, report = true, leave = true, died = true, reap = true, control = true, hello = true,
  take_deliveries = true, settle_delivery = true,
}
if GOES_ON_IN_A_FULL_REDIS[ARGV[2]] then redis.call('DEL', record('')) end

-- A rebuild is all or nothing: its commands are refused once Redis has been emptied in the middle of it.
if argument.rebuild then
  if redis.call('GET', names.rebuilding) ~= argument.rebuild then return 'overtaken' end
  redis.call('PEXPIRE', names.rebuilding, argument.rebuild_ms)
end
return command[ARGV[2]]()
