-- Every second request is a POST.
local count = 0
request = function()
  count = count + 1
  return wrk.format(count % 2 == 0 and "POST" or "GET")
end
