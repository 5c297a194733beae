-- The start of the one script with all transitions of a record, joined from files as contract/script.py says.
-- Redis runs one script at a time, so each is atomic. Times are Redis TIME, never a client's.
-- ARGV: key names as JSON, command, arguments as JSON.
--
-- A record is a hash of the fields of `Record` in contract/job.py, and of six that only this script uses. A rebuild
-- restores two: uses, the dataset of a job; idempotency_key, of the request that created it. It does not restore four:
-- unconfirmed, there while its owner may not know of its claim; reports, the number of its owner's last one;
-- buried_token, that of the owner last declared dead; telling_since_ms, when a clock that was behind first saw its end.
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

local function is_terminal(state) return state == 'succeeded' or state == 'failed' or state == 'cancelled' end

-- Whether the records are complete; after Redis was emptied, they are not until they are rebuilt. For a caller that has
-- looked at them before, `since` an epoch, only if they have been complete all the time.
local function records_stand()
  local epoch = redis.call('GET', names.epoch)
  return epoch and epoch == (argument.since or epoch)
end

local command = {} -- by name, each defined in one of the other files
