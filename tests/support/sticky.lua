-- As half_posts.lua, and each thread's clients keep the cookie that they were given.
dofile("tests/support/half_posts.lua")
response = function(status, headers)
  local cookie = headers["Set-Cookie"]
  if cookie then
    wrk.headers["Cookie"] = cookie:match("[^;]*")
  end
end
