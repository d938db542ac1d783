import { createHash } from 'node:crypto'

/** A Lua script, and the name by which Redis remembers it. Scripts decide and write in one step, within one slot. */
export interface RedisScript {
  readonly lua: string
  readonly sha: string
}

export const scripts = {
  setTag: script(`
    -- Replaces a tag's record, unless the one that is there was checked later.
    -- KEYS   1 the tag
    -- ARGV   1 seconds to keep it   2 checkedAt   3… the other fields, each followed by its value
    -- Output 1 when replaced, 0 when kept
    local known = tonumber(redis.call('HGET', KEYS[1], 'checkedAt') or '')
    if known and known > tonumber(ARGV[2]) then return 0 end
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'checkedAt', ARGV[2], unpack(ARGV, 3))
    redis.call('EXPIRE', KEYS[1], ARGV[1])
    return 1
  `),

  addLinks: script(`
    -- Adds links. What is public stays public, a size that is known stays known.
    -- KEYS   the links, of one repository
    -- ARGV   1 seconds to keep them   2… for each link its size or '', its mediaType, its visibility
    -- Output nothing
    for n, key in ipairs(KEYS) do
      local size, mediaType, visibility = ARGV[3 * n - 1], ARGV[3 * n], ARGV[3 * n + 1]
      if redis.call('HGET', key, 'visibility') == 'public' then visibility = 'public' end
      redis.call('HSET', key, 'mediaType', mediaType, 'visibility', visibility)
      if size ~= '' then redis.call('HSET', key, 'size', size) end
      redis.call('EXPIRE', key, ARGV[1])
    end
  `),

  recordUses: script(`
    -- Records last uses, the newest of each digest, and keeps the sum of the sizes.
    -- KEYS   1 times   2 sizes   3 sum, of one store
    -- ARGV   1 seconds to keep them   2… for each use its digest, size and time
    -- Output nothing
    for n = 2, #ARGV, 3 do
      local digest, size, at = ARGV[n], ARGV[n + 1], ARGV[n + 2]
      local known = redis.call('ZSCORE', KEYS[1], digest)
      if not known or tonumber(at) >= tonumber(known) then
        local before = redis.call('HGET', KEYS[2], digest) or '0'
        redis.call('ZADD', KEYS[1], at, digest)
        redis.call('HSET', KEYS[2], digest, size)
        redis.call('INCRBY', KEYS[3], size)
        redis.call('DECRBY', KEYS[3], before)
      end
    end
    for n = 1, 3 do redis.call('EXPIRE', KEYS[n], ARGV[1]) end
  `),

  coldest: script(`
    -- The least recently used, coldest first.
    -- KEYS   1 times   2 sizes, of one store
    -- ARGV   1 how many, at least one
    -- Output for each its digest, size and time
    local found = {}
    local times = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1, 'WITHSCORES')
    for n = 1, #times, 2 do
      table.insert(found, times[n])
      table.insert(found, redis.call('HGET', KEYS[2], times[n]) or '0')
      table.insert(found, times[n + 1])
    end
    return found
  `),

  forgetUse: script(`
    -- Forgets a use, if it is still the last of its digest.
    -- KEYS   1 times   2 sizes   3 sum, of one store
    -- ARGV   1 digest   2 time
    -- Output 1 when forgotten, 0 when not
    local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if not known or tonumber(known) ~= tonumber(ARGV[2]) then return 0 end
    redis.call('DECRBY', KEYS[3], redis.call('HGET', KEYS[2], ARGV[1]) or '0')
    redis.call('ZREM', KEYS[1], ARGV[1])
    redis.call('HDEL', KEYS[2], ARGV[1])
    return 1
  `),

  usage: script(`
    -- How much a store holds.
    -- KEYS   1 times   2 sizes   3 sum, of one store
    -- ARGV   none
    -- Output number of digests, sum of their sizes
    return { redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[3]) or '0' }
  `),
} as const

function script(lua: string): RedisScript {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}
