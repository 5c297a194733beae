-- Submissions: each is queued once, or withdrawn.

local REQUEST_KEPT_SECONDS = 86400

-- The record that the request with this key created, if that is remembered.
local function made_by(key)
  local made = redis.call('GET', names.request_of .. key)
  return made and cjson.decode(made).id
end

-- Remember which record a request created, from now on for these seconds; without them, until a day after that record
-- is forgotten. A request that created another one keeps to that.
local function remember_request(id, request, seconds)
  if not request then return end
  local key = names.request_of .. request.key
  redis.call('SET', key, request.made, 'NX')
  if made_by(request.key) ~= id then return end
  if seconds then redis.call('EXPIRE', key, seconds) else redis.call('PERSIST', key) end
end

function command.submit()
  local id = argument.id
  if redis.call('EXISTS', record(id)) == 1 then return { 'exists', read(id, 'state') } end
  if redis.call('EXISTS', names.withdrawn_of .. id) == 1 then return { 'withdrawn', '' } end
  if argument.request then
    if not records_stand() then return { 'rebuilding', '' } end
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
  remember_request(id, argument.request)
  redis.call('ZADD', names.all, integer(now_us), id)
  move(id, 'queued')
  return { 'submitted', 'queued' }
end

-- The files of a submission are to be removed, so `submit` and `restore` must fail if they arrive later.
-- Refused once the record is queued; and, unless its submitter asks, while it may have been queued before
-- Redis was emptied.
function command.withdraw()
  local id = argument.id
  if redis.call('EXISTS', record(id)) == 1 then return 0 end
  if not argument.by_submitter then
    if not records_stand() then return 0 end
    if redis.call('SISMEMBER', names.left_out, id) == 1 then return 0 end
  end
  redis.call('SET', names.withdrawn_of .. id, '', 'EX', REQUEST_KEPT_SECONDS)
  return 1
end
