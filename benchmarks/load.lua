-- Sends prepared requests in turn and prints one JSON line about the answers.
-- Knows nothing of what the requests mean; load.py writes them as the files 1.head, 1.body, 2.head, ... of one directory.

local requests = {}
local last = 0
local threads = {}

-- global: `done` runs in another Lua state and reads them through the thread
statuses = {}
queued = {}

function setup(thread)
  table.insert(threads, thread)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local content = file:read("*a")
  file:close()
  return content
end

-- all requests are formatted here, so that sending one costs the client a table look-up
function init(arguments)
  local number = 1
  local head = read(arguments[1] .. "/1.head")
  while head do
    local method, path, lines = head:match("^(%S+) (%S+)\n(.*)$")
    local headers = {}
    for name, value in lines:gmatch("([^:\n]+): ([^\n]*)\n") do
      headers[name] = value
    end
    table.insert(requests, wrk.format(method, path, headers, read(arguments[1] .. "/" .. number .. ".body")))
    number = number + 1
    head = read(arguments[1] .. "/" .. number .. ".head")
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function response(status, headers)
  if status < 200 or status > 299 then
    local name = tostring(status)
    if status == 429 and not headers["retry-after"] then
      name = "429 without Retry-After"
    end
    statuses[name] = (statuses[name] or 0) + 1
  elseif headers["server-timing"] then
    table.insert(queued, tonumber(headers["server-timing"]:match("queue;dur=([%d.]+)")))
  end
end

function done(summary, latency)
  local bad, waits = {}, {}
  for _, thread in ipairs(threads) do
    for status, count in pairs(thread:get("statuses")) do
      table.insert(bad, string.format('"%s":%d', status, count))
    end
    for _, milliseconds in ipairs(thread:get("queued")) do
      table.insert(waits, milliseconds)
    end
  end
  table.sort(waits)
  local errors = summary.errors
  print(string.format(
    '{"seconds":%.6f,"requests":%d,"p50_ms":%.3f,"p99_ms":%.3f,"queue_p99_ms":%.3f,"socket_errors":%d,"statuses":{%s}}',
    summary.duration / 1e6,
    summary.requests,
    latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3,
    waits[math.ceil(0.99 * #waits)] or 0,
    errors.connect + errors.read + errors.write + errors.timeout,
    table.concat(bad, ",")
  ))
end
