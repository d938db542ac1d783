import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { parseRedisUrl } from '../../../src/metadata/redis/redis-url.ts'

const plain = { cluster: false, tls: false, username: undefined, password: undefined, database: 0 }

suite('A Redis URL', () => {
  const good: Record<string, ReturnType<typeof parseRedisUrl>> = {
    'redis://cache': { ...plain, nodes: [{ host: 'cache', port: 6379 }] },
    'redis://cache:6380/': { ...plain, nodes: [{ host: 'cache', port: 6380 }] },
    'redis://[::1]:6380/3': { ...plain, nodes: [{ host: '::1', port: 6380 }], database: 3 },
    'rediss://cache': { ...plain, nodes: [{ host: 'cache', port: 6379 }], tls: true },
    'redis://:p%40ss@cache': { ...plain, nodes: [{ host: 'cache', port: 6379 }], password: 'p@ss' },
    'redis://us%3Aer:p%2Fss@cache': {
      ...plain,
      nodes: [{ host: 'cache', port: 6379 }],
      username: 'us:er',
      password: 'p/ss',
    },
    'redis://cache?cluster=true': { ...plain, nodes: [{ host: 'cache', port: 6379 }], cluster: true },
    'rediss://u:p@a:1/?cluster=true&node=b:2&node=c': {
      nodes: [
        { host: 'a', port: 1 },
        { host: 'b', port: 2 },
        { host: 'c', port: 6379 },
      ],
      cluster: true,
      tls: true,
      username: 'u',
      password: 'p',
      database: 0,
    },
  }
  for (const [text, address] of Object.entries(good)) {
    test(`may be ${text}`, () => assert.deepEqual(parseRedisUrl(text), address))
  }

  const bad = [
    '',
    'cache:6379',
    'http://cache',
    'redis://',
    'redis:///0',
    'redis://:secret@cache:port',
    'redis://:secret@cache/zero',
    'redis://:secret@cache/0/1',
    'redis://:secret@cache?family=6',
    'redis://:secret@cache/1?cluster=true',
    'redis://:secret@cache?node=other',
    'redis://:secret@cache?cluster=true&node=',
    'redis://:sec%ret@cache',
  ]
  for (const text of bad) {
    test(`may not be ${text || 'empty'}, and is not repeated`, () => {
      assert.throws(
        () => parseRedisUrl(text),
        (error: Error) => /Redis/.test(error.message) && !/sec(%|r)/.test(`${error.message} ${error.cause}`),
      )
    })
  }
})
