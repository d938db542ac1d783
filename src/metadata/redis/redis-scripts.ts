/** Lua scripts, which ioredis makes commands of. A script decides and writes in one step, within one slot. */
export const scripts = {
  setTag: {
    numberOfKeys: 1,
    lua: `
    -- Replaces a tag's record, unless the present one was checked later.
    -- KEYS   1 the tag
    -- ARGV   1 seconds to keep it   2 checkedAt   3… the other fields, each followed by its value
    -- Output 1 when replaced, 0 when kept
    local known = tonumber(redis.call('HGET', KEYS[1], 'checkedAt') or '')
    if known and known > tonumber(ARGV[2]) then return 0 end
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'checkedAt', ARGV[2], unpack(ARGV, 3))
    redis.call('EXPIRE', KEYS[1], ARGV[1])
    return 1
  `,
  },

  addLinks: {
    lua: `
    -- Adds links. A public link stays public, a known size stays known.
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
  `,
  },

  discard: {
    numberOfKeys: 1,
    lua: `
    -- Deletes what is no record, unless it has been replaced since it was read.
    -- KEYS   1 the record
    -- ARGV   1… its fields as they were read, each followed by its value
    -- Output 1 when deleted, 0 when kept
    if redis.call('TYPE', KEYS[1]).ok == 'hash' then
      for n = 1, #ARGV, 2 do
        if redis.call('HGET', KEYS[1], ARGV[n]) ~= ARGV[n + 1] then return 0 end
      end
    end
    return redis.call('DEL', KEYS[1])
  `,
  },
} as const

/** The scripts, as a client has them. */
export interface ScriptCommands {
  setTag(key: string, ...values: readonly (string | number)[]): Promise<unknown>
  addLinks(keys: number, ...keysAndValues: readonly (string | number)[]): Promise<unknown>
  discard(key: string, ...values: readonly string[]): Promise<unknown>
}
