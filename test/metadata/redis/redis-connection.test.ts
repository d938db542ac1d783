import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { MetadataUnavailable } from '../../../src/metadata/metadata-unavailable.ts'
import { RedisConnection, type RedisConnectionOptions } from '../../../src/metadata/redis/redis-connection.ts'
import { until } from '../../support/wait.ts'
import { RedisServer, redisSuite } from './redis-server.ts'

const hour = 3_600_000

/** For what is no test of time-outs: on a busy machine 300 ms may be too short. */
const patient = { connectTimeout: 10_000, commandTimeout: 10_000 }

async function connect(url: string, options: RedisConnectionOptions = {}) {
  const troubles: string[] = []
  const connection = await RedisConnection.open(url, (client) => client.set('probe', 'probed'), {
    probeInterval: 5,
    connectTimeout: 300,
    commandTimeout: 300,
    onUnavailable: ({ message }) => troubles.push(message),
    onAvailable: () => troubles.push('available'),
    ...options,
  })
  const get = () => connection.run((client) => client.get('key'))
  return { connection, troubles, get, [Symbol.asyncDispose]: () => connection[Symbol.asyncDispose]() }
}

redisSuite('A connection to Redis', () => {
  test('works at once if Redis does, without a report', async () => {
    await using server = await RedisServer.start()
    await using redis = await connect(server.url, patient)
    assert.equal(await redis.get(), null)
    assert.deepEqual(redis.troubles, [])
  })

  test('opens without a Redis, fails at once while there is none, and works when it starts', async () => {
    await using server = await RedisServer.start()
    await server.kill()
    await using redis = await connect(server.url)
    await assert.rejects(redis.get(), MetadataUnavailable)
    const away = `Redis at 127.0.0.1:${server.port} is unavailable: connect ECONNREFUSED 127.0.0.1:${server.port}`
    assert.deepEqual(redis.troubles, [away])
    await server.run()
    await until(() => redis.troubles.length > 1, 'Redis to be found')
    assert.equal(await redis.get(), null)
    assert.deepEqual(redis.troubles, [away, 'available'])
  })

  test('that timed out sends no more commands until a probe succeeds', async () => {
    await using server = await RedisServer.start()
    await using redis = await connect(server.url, { commandTimeout: 500, connectTimeout: 5000 })
    await redis.get()
    const before = await server.count('get')
    server.pause()
    for (let n = 0; n < 1000; n += 1) await assert.rejects(redis.get(), MetadataUnavailable)
    server.resume()
    assert.match(redis.troubles[0] ?? '', /unavailable: no answer within 500 ms$/)
    await until(() => redis.troubles.includes('available'), 'Redis to be found')
    assert.equal(await redis.get(), null)
    const asked = (await server.count('get')) - before
    assert.ok(asked <= 2, `Redis was asked ${asked} times instead of once before and once after`)
  })

  test('that breaks fails running commands at once, and works again when Redis does', async () => {
    await using server = await RedisServer.start()
    await using redis = await connect(server.url, { commandTimeout: hour })
    const waiting = assert.rejects(
      redis.connection.run((client) => client.blpop('nothing', 0)),
      MetadataUnavailable,
    )
    await server.kill()
    await waiting
    await assert.rejects(redis.get(), MetadataUnavailable)
    await server.run()
    await until(() => redis.troubles.includes('available'), 'Redis to be found')
    assert.equal(await redis.get(), null)
  })

  test('that breaks while idle is made again before the next command', async () => {
    await using server = await RedisServer.start()
    await using redis = await connect(server.url)
    await server.kill()
    await until(() => redis.troubles.length > 0, 'the loss')
    await server.run()
    await until(() => redis.troubles.includes('available'), 'Redis to be found')
    assert.equal(await redis.get(), null)
  })

  test('with a wrong password is reported once, without the password', async () => {
    await using server = await RedisServer.start('--requirepass', 'the-right-secret')
    await using redis = await connect(`redis://:the-wrong-secret@127.0.0.1:${server.port}`, patient)
    const errors: unknown[] = []
    for (let n = 0; n < 20; n += 1) errors.push(await redis.get().catch((error: unknown) => error))
    assert.equal(redis.troubles.length, 1)
    assert.match(redis.troubles[0] ?? '', /unavailable: WRONGPASS/)
    for (const error of errors) {
      assert.ok(error instanceof MetadataUnavailable)
      assert.doesNotMatch(JSON.stringify(error, Object.getOwnPropertyNames(error)) + String(error.cause), /secret/)
    }
    await using right = await connect(`redis://:the-right-secret@127.0.0.1:${server.port}`, patient)
    assert.equal(await right.get(), null)
    await using none = await connect(server.url, patient)
    assert.match(none.troubles[0] ?? '', /unavailable: NOAUTH/)
  })

  test('to a database that does not exist does not use another one', async () => {
    await using server = await RedisServer.start()
    await using redis = await connect(`${server.url}/99`)
    await assert.rejects(redis.get(), MetadataUnavailable)
    assert.match(redis.troubles[0] ?? '', /unavailable: ERR DB index is out of range/)
    assert.equal(await server.ask('DBSIZE'), 0)
  })

  test('to a Redis that refuses writes counts as unavailable', async () => {
    await using server = await RedisServer.start('--maxmemory', '1', '--maxmemory-policy', 'noeviction')
    await using redis = await connect(server.url)
    assert.match(redis.troubles[0] ?? '', /unavailable: OOM/)
    await server.ask('CONFIG', 'SET', 'maxmemory', '0')
    await until(() => redis.troubles.includes('available'), 'Redis to be found')
    await redis.get()
  })

  test('goes on after a refused command', async () => {
    await using server = await RedisServer.start()
    await using redis = await connect(server.url)
    await server.ask('SADD', 'key', 'member')
    await assert.rejects(redis.get(), (error: Error) => {
      return !(error instanceof MetadataUnavailable) && /^Redis refused a command: WRONGTYPE/.test(error.message)
    })
    assert.equal(await redis.connection.run((client) => client.get('other')), null)
    assert.deepEqual(redis.troubles, [])
  })

  test('to another server, or one without TLS, has an error that says so', async () => {
    const sockets = new Set<{ destroy(): void }>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('error', () => undefined)
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    }).listen(0, '127.0.0.1')
    await using _ = { [Symbol.asyncDispose]: async () => void server.close() }
    await until(() => server.listening, 'the server')
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    for (const scheme of ['redis', 'rediss']) {
      await using redis = await connect(`${scheme}://127.0.0.1:${port}`, { probeInterval: hour })
      assert.equal(redis.troubles.length, 1)
      assert.match(redis.troubles[0] ?? '', scheme === 'redis' ? /does not speak the protocol of Redis/ : /SSL|TLS/i)
    }
    for (const socket of sockets) socket.destroy()
  })

  test('leaves nothing running after it is closed', async () => {
    await using server = await RedisServer.start()
    const redis = await connect(server.url)
    await redis[Symbol.asyncDispose]()
    await redis[Symbol.asyncDispose]()
    await assert.rejects(redis.get(), /closed/)
    const late = await connect(server.url, { probeInterval: 1 })
    server.pause()
    await assert.rejects(late.get(), MetadataUnavailable)
    await late[Symbol.asyncDispose]()
  })
})
