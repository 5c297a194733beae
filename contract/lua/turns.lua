-- The queue, and in which order it is served.

local LEVEL_OF = { high = -1, normal = 0, low = 1 }
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

-- When the order last changed, then the queue in that order.
function command.turns()
  local answer = { redis.call('GET', names.turns) or '0' }
  in_turn(function(id)
    answer[#answer + 1] = id
    return 'served'
  end)
  return answer
end
