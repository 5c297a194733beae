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
