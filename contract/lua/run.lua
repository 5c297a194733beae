-- The end of the script: run the command.

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
