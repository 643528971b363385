-- Written by mspctl. What is declared of each mail domain lies in mspctl/<domain>.json beside this folder; this is what
-- makes it true. A file that changes is read again within a second, and each lookup is in memory.
--
-- Nothing here asks whose a domain is: what one file says holds for mail to (lists, size) or from (rate, DKIM) the
-- domains it names, and for no other. Of a message to several domains, only what all of their files say holds.

if confighelp then
  return
end

local N = 'mspctl'
local hash = require 'rspamd_cryptobox_hash'
local logger = require 'rspamd_logger'
local lua_redis = require 'lua_redis'
local ucl = require 'ucl'
local util = require 'rspamd_util'

local FOLDER = rspamd_paths['LOCAL_CONFDIR'] .. '/mspctl/'
local MYSELF = rspamd_paths['LOCAL_CONFDIR'] .. '/plugins.d/mspctl.lua'
local LOADED = rspamd_paths['DBDIR'] .. '/mspctl.loaded'

-- An administrator's to change, in local.d/mspctl.conf.
local settings = {
  allow_score = -100.0, -- a virus is refused all the same: that needs no score
  block_score = 100.0,
  sign_local = true, -- mail of programs and devices that do not log in, from options.local_addrs
}

-- -- files ---------------------------------------------------------------------------------------------------

local files = {} -- path → what it was like when it was read, and what it said
local own = {} -- domain → what its file says
local served = {} -- the same, and for alias domains what the file of their domain says

-- A part of a file, which somebody may have edited by hand. Raises an error that `refresh` tells.
local function part(said, name)
  local found = said[name] or {}
  if type(found) ~= 'table' then
    error(name .. ' is not what it should be', 0)
  end
  return found
end

-- Senders, so that a message needs a lookup for each length of network, and for each parent of a domain.
local function compiled(list)
  local found = { networks = {}, names = {} }
  for sender in pairs(list) do
    local entry = part(list, sender)
    local address, bits = sender:match('^([%x.:]+)/(%d+)$')
    if address or sender:find('^[%d.]+$') or sender:find(':') then
      bits = tonumber(bits) or (sender:find(':') and 128 or 32)
      local length = (sender:find(':') and '6/' or '4/') .. bits
      found.networks[length] = found.networks[length] or { bits = bits, addresses = {} }
      found.networks[length].addresses[(address or sender):lower()] = { sender, entry }
    else
      found.names[sender:lower()] = { sender, entry }
    end
  end
  return found
end

local function parsed(path)
  local file = assert(io.open(path, 'r'))
  local text = file:read('*a')
  file:close()
  local parser = ucl.parser()
  local good, wrong = parser:parse_string(text)
  if not good then
    error(wrong, 0)
  end
  local said = part({ file = parser:get_object() }, 'file')
  local limits, signing = part(said, 'limits'), part(said, 'signing')
  return {
    name = path:match('([^/]+)%.json$'),
    allow = compiled(part(said, 'allow')),
    block = compiled(part(said, 'block')),
    keys = part(said, 'dkim'),
    selector = signing.selector,
    senders = part(signing, 'senders'),
    size = tonumber(limits.message_size) or 0,
    rate = tostring(limits.sending_rate or ''),
    aliases = part(said, 'alias_domains'),
  }
end

local function index()
  own, served = {}, {}
  for _, file in pairs(files) do
    if file.said then
      own[file.said.name] = file.said
      served[file.said.name] = file.said
    end
  end
  for _, said in pairs(own) do
    for _, alias in ipairs(said.aliases) do
      served[alias] = served[alias] or said
    end
  end
end

local function refresh()
  local now, seen, moved = util.get_time(), {}, false
  for _, path in ipairs(util.glob(FOLDER .. '*.json')) do
    local wrong, stat = util.stat(path)
    if not wrong then
      seen[path] = true
      local old = files[path]
      -- Times are whole seconds: what was written in the second in which it was read is read once more.
      if not old or old.mtime ~= stat.mtime or old.size ~= stat.size or old.read - stat.mtime < 2 then
        local good, said = pcall(parsed, path)
        if not good then
          logger.errx(rspamd_config, '%s: %s cannot be read (%s); what it said before holds', N, path, said)
          said = old and old.said
        end
        files[path] = { mtime = stat.mtime, size = stat.size, read = now, said = said }
        moved = true
      end
    end
  end
  for path in pairs(files) do
    if not seen[path] then
      files[path] = nil
      moved = true
    end
  end
  if moved then
    index()
  end
end

-- -- lists ---------------------------------------------------------------------------------------------------

local function holds(entry)
  local over = entry['until']
  return not over or over == '' or os.date('!%Y-%m-%dT%H:%M:%SZ') < over
end

local function domain_of(address)
  return address and address:match('@([^@]+)$')
end

local function by_address(list, ip)
  if not (ip and ip:is_valid()) then
    return nil
  end
  local version = ip:get_version() == 6 and '6/' or '4/'
  for length, network in pairs(list.networks) do
    if length:sub(1, 2) == version then
      local found = network.addresses[ip:apply_mask(network.bits):to_string()]
      if found and holds(found[2]) then
        return found[1]
      end
    end
  end
  return nil
end

-- The entries that name an address, its domain, or a domain above that.
local function by_name(list, address)
  local found, name = {}, address
  while name do
    if list.names[name] and holds(list.names[name][2]) then
      table.insert(found, list.names[name])
    end
    name = name:find('@') and domain_of(name) or name:match('^[^.]+%.(.+)$')
  end
  return found
end

local function is_within(domain, above)
  return domain and (domain == above or domain:sub(-#above - 1) == '.' .. above)
end

-- Whose signature is good, or whose server it is: as with DMARC, of the domain that was named, or of one below it.
local function passes(task, how, domain)
  if how == 'dkim' then
    for _, symbol in ipairs(task:get_symbol('DKIM_TRACE') or {}) do
      for _, option in ipairs(symbol.options or {}) do
        local signer, result = option:match('^(.*):(.)$')
        if result == '+' and is_within(signer:lower(), domain) then
          return true
        end
      end
    end
  elseif how == 'spf' and task:has_symbol('R_SPF_ALLOW') then
    local envelope = task:get_from('smtp')
    return envelope and envelope[1] and is_within(domain_of((envelope[1].addr or ''):lower()), domain)
  end
  return false
end

local function senders_of(task)
  local found = {}
  for _, kind in ipairs({ 'mime', 'smtp' }) do
    for _, from in ipairs(task:get_from(kind) or {}) do
      if from.addr and from.addr ~= '' then
        table.insert(found, from.addr:lower())
      end
    end
  end
  return found
end

local function blocked(task, said)
  local found = by_address(said.block, task:get_from_ip())
  for _, address in ipairs(senders_of(task)) do
    local named = by_name(said.block, address)
    found = found or (named[1] and named[1][1])
  end
  return found
end

local function allowed(task, said)
  local found = by_address(said.allow, task:get_from_ip())
  local from, headers = task:get_from('mime') or {}, task:get_header_full('From') or {}
  if found or #from ~= 1 or #headers ~= 1 or not from[1].addr then
    return found -- of several names, nobody knows which one is shown
  end
  for _, named in ipairs(by_name(said.allow, from[1].addr:lower())) do
    if passes(task, named[2].must_pass, domain_of(named[1]:lower()) or named[1]:lower()) then
      return named[1]
    end
  end
  return nil
end

-- The recipients' domains, each once.
local function recipients(task)
  local domains = {}
  for _, recipient in ipairs(task:get_recipients('smtp') or {}) do
    domains[(recipient.domain or ''):lower()] = true
  end
  return domains
end

local function check_lists(task)
  if task:get_user() then
    return -- somebody of ours
  end
  local verdict, option
  for domain in pairs(recipients(task)) do
    local said = served[domain]
    local block = said and blocked(task, said)
    local allow = said and not block and allowed(task, said)
    local mine = (block and 'MSPCTL_BLOCK') or (allow and 'MSPCTL_ALLOW')
    if not mine or (verdict and verdict ~= mine) then
      return
    end
    verdict, option = mine, string.format('%s for %s', block or allow, domain)
  end
  if verdict then
    task:insert_result(verdict, 1.0, option)
  end
end

-- -- sizes and rates -----------------------------------------------------------------------------------------

-- A bucket for `most` that fills up again within `period`. Returns 1 when what is asked for is not in it.
local BUCKET = [[
local most, period, now, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = most
if held[1] then
  left = math.min(most, tonumber(held[1]) + math.max(0, now - tonumber(held[2])) * most / period)
end
if left < wanted then
  return 1
end
redis.call('HSET', KEYS[1], 'left', tostring(left - wanted), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(period))
return 0
]]
local UNITS = { s = 1, m = 60, h = 3600, d = 86400, w = 604800 }
local redis, bucket

local function rate_of(text)
  local most, number, unit = text:match('^(%d+)/(%d*)([smhdw])$')
  if not most then
    return nil
  end
  return tonumber(most), (tonumber(number) or 1) * UNITS[unit]
end

local function check_rate(task, said)
  local most, seconds = rate_of(said.rate)
  if not most or not bucket then
    return
  end
  local _, wanted = task:has_recipients('smtp')
  local function answered(err, full)
    if err then
      logger.errx(task, '%s: the rate of %s cannot be checked: %s', N, said.name, err)
    elseif tonumber(full) == 1 then
      local text = string.format('%s may send %s messages; try again later', said.name, said.rate)
      task:set_pre_result('soft reject', text, N)
    end
  end
  local now = util.get_time() * 1000
  local arguments = { tostring(most), tostring(seconds * 1000), string.format('%.0f', now), tostring(wanted or 1) }
  lua_redis.exec_redis_script(bucket, { task = task, key = said.name, is_write = true }, answered,
    { 'mspctl_rate_' .. said.name }, arguments)
end

local function refuse_size(task, said)
  local text = string.format('%s takes messages of at most %d bytes', said.name, said.size)
  task:set_pre_result('reject', text, N)
end

local function check_limits(task)
  local size = task:get_size()
  local function is_too_large(said)
    return said and said.size > 0 and size > said.size
  end
  local sender = served[(domain_of(task:get_user()) or ''):lower()]
  if is_too_large(sender) then
    return refuse_size(task, sender)
  end
  local too_large
  for domain in pairs(recipients(task)) do
    too_large = is_too_large(served[domain]) and served[domain] or false
    if not too_large then
      break
    end
  end
  if too_large then
    return refuse_size(task, too_large)
  end
  if sender then
    check_rate(task, sender)
  end
end

-- -- DKIM ----------------------------------------------------------------------------------------------------

local function may_sign(task, said)
  local user = task:get_user()
  if not user then
    local ip = task:get_from_ip()
    return settings.sign_local and ip and ip:is_valid() and ip:is_local()
  end
  local domain = (domain_of(user) or ''):lower()
  if domain == said.name then
    return true
  end
  for _, sender in ipairs(said.senders) do
    if sender == domain then
      return true
    end
  end
  return false
end

local function is_signed(task, domain, selector)
  for _, symbol in ipairs(task:get_symbol('DKIM_SIGNED') or {}) do
    for _, option in ipairs(symbol.options or {}) do
      if option == string.format('%s:s=%s', domain, selector) then
        return true -- by rspamd's own dkim_signing, which was told of the same key
      end
    end
  end
  return false
end

local function sign_with(task, said, selector, more)
  if is_signed(task, said.name, selector) then
    return true
  end
  local with = { domain = said.name, selector = selector, key = said.keys[selector] }
  for name, value in pairs(more or {}) do
    with[name] = value
  end
  local done = rspamd_plugins.dkim.sign(task, with)
  if done then
    task:insert_result('MSPCTL_SIGNED', 1.0, string.format('%s:s=%s', said.name, selector))
  end
  return done
end

-- While a key takes over from another, the first one that everybody can see in DNS signs.
local function sign_with_first(task, said, selectors, number)
  local selector = selectors[number]
  if not selector then
    sign_with(task, said, selectors[1])
    return
  end
  task:get_resolver():resolve_txt({
    task = task,
    name = string.format('%s._domainkey.%s', selector, said.name),
    forced = true,
    callback = function(_, _, results, err)
      local key = not err and results and results[1]
      if not (key and sign_with(task, said, selector, { pubkey = key, strict_pubkey_check = true })) then
        sign_with_first(task, said, selectors, number + 1)
      end
    end,
  })
end

local function sign(task)
  local from = task:get_from('mime') or {}
  local said = #from == 1 and own[(from[1].domain or ''):lower()]
  if not said or not said.selector or not next(said.keys) or not may_sign(task, said) then
    return
  end
  if task:has_pre_result() then
    local action = task:get_metric_action()
    if action == 'reject' or action == 'soft reject' or action == 'discard' then
      return
    end
  end
  local selectors = {}
  for selector in pairs(said.keys) do
    if selector ~= said.selector then
      table.insert(selectors, selector)
    end
  end
  table.sort(selectors)
  if said.keys[said.selector] then
    table.insert(selectors, 1, said.selector)
  end
  if #selectors == 1 then
    sign_with(task, said, selectors[1])
  else
    sign_with_first(task, said, selectors, 1)
  end
end

-- -- rspamd --------------------------------------------------------------------------------------------------

for name, value in pairs(rspamd_config:get_all_opt(N) or {}) do
  settings[name] = value
end

redis = lua_redis.parse_redis_server(N) -- rspamd's own: local.d/redis.conf
if redis then
  bucket = lua_redis.add_redis_script(BUCKET, redis)
end

local function register(name, callback, more)
  local symbol = { type = 'callback', name = name, callback = callback, group = N }
  for key, value in pairs(more or {}) do
    symbol[key] = value
  end
  return rspamd_config:register_symbol(symbol)
end

register('MSPCTL_LIMITS', check_limits, { type = 'prefilter', flags = 'empty,nostat' })
local lists = register('MSPCTL_LISTS', check_lists)
register('MSPCTL_ALLOW', nil, { type = 'virtual', parent = lists, score = settings.allow_score })
register('MSPCTL_BLOCK', nil, { type = 'virtual', parent = lists, score = settings.block_score })
local signs = register('MSPCTL_SIGN', sign, { flags = 'empty,ignore_passthrough' })
register('MSPCTL_SIGNED', nil, { type = 'virtual', parent = signs, score = 0.0 })
for _, other in ipairs({ 'DKIM_CHECK', 'SPF_CHECK' }) do
  rspamd_config:register_dependency('MSPCTL_LISTS', other)
end
for _, other in ipairs({ 'DKIM_CHECK', 'DKIM_SIGNED' }) do
  rspamd_config:register_dependency('MSPCTL_SIGN', other)
end

-- Tells mspctl which text of this file rspamd works with, and by which of its processes.
local function tell(worker)
  local draft = string.format('%s.%d', LOADED, worker:get_pid())
  local mine, there = io.open(MYSELF, 'rb'), io.open(draft, 'w')
  if not mine or not there then
    logger.errx(rspamd_config, '%s: %s cannot be read, or %s not written', N, MYSELF, draft)
    return
  end
  local digest = hash.create_specific('sha256', mine:read('*a')):hex()
  there:write(string.format('%s %d%s\n', digest, worker:get_pid(), redis and ' redis' or ''))
  mine:close()
  there:close()
  os.rename(draft, LOADED)
end

rspamd_config:add_on_load(function(cfg, ev_base, worker)
  if worker:is_scanner() then
    refresh()
    tell(worker)
    cfg:add_periodic(ev_base, 1.0, function()
      refresh()
      return true
    end, false)
  end
end)
