-- Begins each script that changes what is known of an edge: a function that tells all of it to all replicas.
-- KEYS: edge record, others. ARGV: channel, edge_id, others.
local function tell_edge(orders)
  local record = {kind = 'edge', edge_id = ARGV[2]}
  for _, key in ipairs({KEYS[1], orders}) do
    local fields = redis.call('HGETALL', key)
    for i = 1, #fields, 2 do
      record[fields[i]] = fields[i + 1]
    end
  end
  redis.call('PUBLISH', ARGV[1], cjson.encode(record))
end
