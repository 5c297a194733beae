-- Timers: a sorted set of members by when each ends, and one by since when it runs, as the clock may be set back.

local function start_timer(ends, since, member, ms)
  redis.call('ZADD', ends, integer(now_ms + ms), member)
  redis.call('ZADD', since, integer(now_ms), member)
end

-- Timers that were started later than now were started before the clock was set back: start them again.
local function restart_timers_ahead(ends, since)
  local ahead = redis.call('ZRANGEBYSCORE', since, '(' .. integer(now_ms), '+inf', 'WITHSCORES')
  for i = 1, #ahead, 2 do
    local member, end_ms = ahead[i], redis.call('ZSCORE', ends, ahead[i])
    if end_ms then start_timer(ends, since, member, end_ms - ahead[i + 1])
    else redis.call('ZREM', since, member) end -- an older version has stopped it
  end
end
