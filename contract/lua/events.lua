-- The events of a record, each appended with what changed, and trimmed once they are safe on the volume.

local function append_event(id, kind_of_event, data)
  local revision = redis.call('HINCRBY', record(id), 'revision', 1)
  redis.call('XADD', names.events_of .. id, revision .. '-0',
    'type', kind_of_event, 'at_ms', integer(now_ms), 'data', data)
  redis.call('SADD', names.unmirrored, id)
  redis.call('PUBLISH', names.channel, record(id) .. ':' .. revision)
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
