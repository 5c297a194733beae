-- Workers: which live, and whose renderer is the deployment's.

local function dismiss(name)
  redis.call('ZREM', names.workers, name)
  redis.call('ZREM', names.workers_since, name)
  redis.call('HDEL', names.worker_facts, name)
end

-- Announce a worker. The reply is the deployment's renderer: a sampler's own, if no other one has the present one.
function command.hello()
  local name = argument.name
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', names.workers, '-inf', integer(now_ms - 3600000))) do
    dismiss(gone)
  end
  restart_timers_ahead(names.workers, names.workers_since)
  start_timer(names.workers, names.workers_since, name, argument.ttl_ms)
  redis.call('HSET', names.worker_facts, name, argument.facts)
  local mine = cjson.decode(argument.facts).renderer
  local active = redis.call('GET', names.renderer)
  if not mine or mine == cjson.null or mine == active then return active end
  for _, other in ipairs(redis.call('ZRANGEBYSCORE', names.workers, integer(now_ms), '+inf')) do
    local facts = redis.call('HGET', names.worker_facts, other)
    if other ~= name and facts and cjson.decode(facts).renderer == active then return active end
  end
  redis.call('SET', names.renderer, mine)
  return mine
end

function command.goodbye()
  dismiss(argument.name)
  return 1
end

function command.workers()
  local alive = redis.call('ZRANGEBYSCORE', names.workers, integer(now_ms), '+inf')
  if #alive == 0 then return {} end
  return redis.call('HMGET', names.worker_facts, unpack(alive))
end
