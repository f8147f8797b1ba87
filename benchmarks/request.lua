-- What wrk sends: the targets of a file, one after the other, each with the same headers and body.
--
-- Arguments (after `--`): method, host, file of targets, bytes of the body, count, file for the result.
-- count 0: the targets go round until wrk's time is over.
-- count n: exactly n requests are sent, and the time is taken when the n-th answer is there; wrk is then told to stop.
-- Without a count no answer is handed to Lua at all, because that alone would cost wrk several microseconds a request.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } moment_t;
  int clock_gettime(int clock, moment_t *moment);
  int getpid(void);
  int kill(int pid, int signal);
]]
local CLOCK_MONOTONIC, SIGINT = 1, 2
local IDLE_MS = 3600000

local function now_s()
  local moment = ffi.new("moment_t")
  ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
  return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

local the_thread
function setup(thread)
  the_thread = thread
end

local requests, tail = {}, nil
local sent, answered, total = 0, 0, 0

function init(arguments)
  local method, host, file, body_bytes = arguments[1], arguments[2], arguments[3], tonumber(arguments[4])
  total = tonumber(arguments[5])
  result_file = arguments[6]
  tail = " HTTP/1.1\r\nHost: " .. host .. "\r\n"
  if body_bytes >= 0 then
    -- One pattern, not one byte: a store that compresses or finds equal blocks would flatter itself.
    local block = {}
    math.randomseed(body_bytes)
    for index = 1, math.min(body_bytes, 65536) do block[index] = string.char(math.random(0, 255)) end
    local pattern = table.concat(block)
    local body = pattern:rep(math.floor(body_bytes / math.max(#pattern, 1)))
    tail = tail .. "Content-Length: " .. body_bytes .. "\r\n\r\n" .. body .. pattern:sub(1, body_bytes - #body)
  else
    tail = tail .. "\r\n"
  end
  for target in io.lines(file) do requests[#requests + 1] = method .. " " .. target end
  if body_bytes < 0 then
    -- Small and constant: join them before the clock runs.
    for index = 1, #requests do requests[index] = requests[index] .. tail end
    tail = nil
  end
  if total > 0 then
    started_s, finished_s = 0, 0
    delay = function()
      if sent >= total then return IDLE_MS end
      if sent == 0 then started_s = now_s() end
      sent = sent + 1
      return 0
    end
    response = function()
      answered = answered + 1
      if answered == total then
        finished_s = now_s()
        ffi.C.kill(ffi.C.getpid(), SIGINT)
      end
    end
  end
end

local position = 0
function request()
  position = position % #requests + 1
  if tail then return requests[position] .. tail end
  return requests[position]
end

function done(summary, latency, _)
  local seconds = summary.duration / 1e6
  if (the_thread:get("finished_s") or 0) > 0 then
    seconds = the_thread:get("finished_s") - the_thread:get("started_s")
  end
  local errors = summary.errors
  local file = assert(io.open(the_thread:get("result_file"), "w"))
  file:write(string.format(
    '{"requests":%d,"seconds":%.6f,"bad_status":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, seconds, errors.status, errors.connect, errors.read, errors.write, errors.timeout,
    latency:percentile(50), latency:percentile(99)))
  file:close()
end
