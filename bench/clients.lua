-- wrk's clients: half of their requests are orders, each with an id; every body is checked.
-- Arguments: quick or slow, the folder for what they report, a word that each id begins with.
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  kind, folder, run = arguments[1], arguments[2], arguments[3]
  requests, orders, answered, wrong, retried = 0, 0, 0, 0, 0
  acknowledged = io.open(folder .. "/acknowledged-" .. kind .. number, "w")
  looked = os.time()
end

-- Once a second: find out whether orders are still sent; tell how many requests there were, and
-- once no more orders are sent, how many have no answer yet.
local function look()
  local now = os.time()
  if now == looked then return end
  looked = now
  local file = io.open(folder .. "/closed")
  if file then
    file:close()
    closed = true
  end
  file = io.open(folder .. "/requests-" .. kind .. number, "w")
  file:write(requests, " ", closed and orders - answered or "open")
  file:close()
end

function request()
  look()
  requests = requests + 1
  if kind == "slow" then return wrk.format("GET", "/slow?seconds=0.5") end
  -- The first is a GET: wrk makes one request that it does not send, to learn what they are like.
  if closed or requests % 2 == 1 then return wrk.format("GET", "/hello") end
  orders = orders + 1
  return wrk.format("POST", string.format("/orders?id=%s-%d-%d", run, number, orders))
end

function response(status, headers, body)
  local id = body:match('^{"id": "([%w-]+)", .*}$')
  local right = kind == "slow" and '^{"slept": 0.5, .*}$' or '^{"hello": "world", .*}$'
  if status == 201 and id then
    acknowledged:write(id, "\n")
    answered = answered + 1
  elseif status ~= 200 or not body:match(right) then
    wrong = wrong + 1
    -- This is hardly ever a GET: for those nginx asks another process.
    answered = answered + 1
    io.stderr:write(status, " ", body:sub(1, 60):gsub("%s", " "), "\n")
  end
  if (headers["X-Upstream-Status"] or ""):find(",", 1, true) then retried = retried + 1 end
end

function done(summary, latency)
  local sums = {orders = 0, wrong = 0, retried = 0}
  for _, thread in ipairs(threads) do
    for name in pairs(sums) do sums[name] = sums[name] + thread:get(name) end
  end
  local errors = summary.errors
  local failed = sums.wrong + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format(
    '{"requests": %d, "seconds": %.3f, "failed": %d, "retried": %d, "orders": %d, '
      .. '"p50_ms": %.3f, "p99_ms": %.3f}',
    summary.requests, summary.duration / 1e6, failed, sums.retried, sums.orders,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
