-- The lists in :cur, of the devices that were used and of those that were seen: entries with a NUL
-- behind each.

-- -> the list with the device at its end, and whether the device is new in the list.
local function used_last(list, who)
  local item = who .. '\0'
  if list == item then
    return list, false
  end
  local at = string.find('\0' .. list, '\0' .. item, 1, true)
  if at then
    list = string.sub(list, 1, at - 1) .. string.sub(list, at + #item)
  end
  return list .. item, not at
end

-- -> the number of entries.
local function count_of(list)
  local _, count = string.gsub(list, '%z', '')
  return count
end

-- -> where the entry of a seen device begins in the list, and the cursor in that entry; nil: the
-- device is not in the list.
local function seen_at(list, who)
  local at = string.find('\0' .. list, '\0' .. who .. '\1', 1, true)
  if at then
    return at, string.match(list, '^%Z*', at + #who + 1)
  end
end
