import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { EventStream } from '../../src/admin/event-stream.ts'
import { Events } from '../../src/admin/events.ts'
import { first, Larder } from '../cache/support/larder.ts'
import { open, type Reader } from '../support/client.ts'
import { image } from '../support/image.ts'
import { calmSources, startAdmin } from './support/admin.ts'

interface Message {
  readonly event: string
  readonly data: Record<string, unknown>
}

/** Messages as they come; comments and the like left out. */
async function* messages(reader: Reader): AsyncGenerator<Message> {
  let text = ''
  for (let chunk = await reader.some(); chunk; chunk = await reader.some()) {
    text += chunk.toString()
    const parts = text.split('\n\n')
    text = parts.pop() ?? ''
    for (const part of parts) {
      const fields = new Map(part.split('\n').map((line) => line.split(/: (.*)/s) as [string, string]))
      const event = fields.get('event')
      if (event !== undefined) yield { event, data: JSON.parse(fields.get('data') ?? '') }
    }
  }
}

async function take(stream: AsyncGenerator<Message>, count: number): Promise<Message[]> {
  const taken: Message[] = []
  while (taken.length < count) {
    const { value, done } = await stream.next()
    if (done) break
    taken.push(value)
  }
  return taken
}

describe('/api/events', () => {
  it('sends fills, damage and evictions as they happen', async () => {
    const clock = { now: 1_700_000_000_000 }
    await using larder = await Larder.open({ storage: { maxIdle: '1d' } }, clock)
    await using reader = await open(`${larder.mirror.adminUrl}/api/events`)
    assert.equal(reader.status, 200)
    assert.equal(reader.headers['content-type'], 'text/event-stream; charset=utf-8')
    assert.equal(reader.headers['cache-control'], 'no-store')
    const stream = messages(reader)
    const own = image()
    await larder.stock(`${first}/team/app`, '1', own)
    const fills = await take(stream, 4)
    for (const { digest } of [own.config, ...own.layers]) {
      const told = fills.filter(({ data }) => data['digest'] === digest)
      assert.deepEqual(
        told.map(({ event }) => event),
        ['fill-started', 'fill-ended'],
      )
    }
    const ended = fills.find(({ event, data }) => event === 'fill-ended' && data['digest'] === own.config.digest)
    assert.deepEqual(ended?.data, {
      at: clock.now,
      upstream: first,
      repository: `${first}/team/app`,
      digest: own.config.digest,
      end: 'stored',
      bytes: own.config.size,
      seconds: 0,
    })
    clock.now += 2 * 86_400_000
    const { json } = await larder.call('/evict', 'POST')
    assert.deepEqual(await take(stream, 1), [{ event: 'evicted', data: { at: clock.now, ...json } }])
  })

  it('reports when an upstream rests, and when it is back', async () => {
    let state: 'ok' | 'resting' = 'ok'
    const upstream = () => ({ name: 'docker.io', state, requests: 0, errors: 0, rateLimit: null, notice: null })
    await using admin = await startAdmin({ sources: { ...calmSources, upstreams: () => [upstream()] } })
    await using reader = await open(`http://127.0.0.1:${admin.port}/api/events`)
    const stream = messages(reader)
    state = 'resting'
    assert.deepEqual(await take(stream, 1), [{ event: 'upstream-resting', data: { at: 0, upstream: 'docker.io' } }])
    state = 'ok'
    assert.deepEqual(await take(stream, 1), [{ event: 'upstream-back', data: { at: 0, upstream: 'docker.io' } }])
  })

  it('ends when the mirror stops', async () => {
    await using larder = await Larder.open()
    await using reader = await open(`${larder.mirror.adminUrl}/api/events`)
    const stream = messages(reader)
    await larder.mirror.stop()
    assert.deepEqual(await take(stream, 1), [])
    assert.equal(reader.complete, true)
  })

  it('has a bound on open streams, which closed ones do not count for', async () => {
    await using admin = await startAdmin()
    const url = `http://127.0.0.1:${admin.port}/api/events`
    const readers = await Promise.all(Array.from({ length: 32 }, () => open(url)))
    for (const reader of readers) assert.equal(reader.status, 200)
    const refused = await admin.ask('/api/events')
    assert.equal(refused.status, 503)
    assert.deepEqual(refused.json, { errors: [{ code: 'BUSY', message: 'too many clients are listening to events' }] })
    readers.pop()?.abort()
    for (let status = 503; status === 503; ) {
      await using reader = await open(url)
      status = reader.status
    }
    for (const reader of readers) reader.abort()
  })

  it('is not opened by HEAD', async () => {
    await using admin = await startAdmin()
    for (let n = 0; n < 40; n += 1) assert.equal((await admin.ask('/api/events', { method: 'HEAD' })).status, 200)
  })
})

describe('an event stream', () => {
  it('buffers little for a slow reader, and says how many events it dropped', async () => {
    const stream = new EventStream()
    const message = `event: x\ndata: ${'"y"'.padEnd(1000)}\n\n`
    for (let n = 0; n < 10_000; n += 1) stream.send(message)
    assert.ok(stream.readableLength < 100_000)
    setImmediate(() => stream.finish())
    let text = ''
    for await (const chunk of stream) text += chunk
    const told = text.split('event: x').length - 1
    assert.ok(told > 10 && told < 1000, `${told}`)
    assert.match(text, new RegExp(`event: missed\ndata: {"events":${10_000 - told}}\n\n$`))
  })

  it('does nothing without a reader', async () => {
    let looks = 0
    const events = new Events({
      upstreams: () => {
        looks += 1
        return []
      },
      now: () => 0,
    })
    events.publish({ type: 'evicted', blobs: 1, bytes: 1 })
    assert.equal(looks, 0)
    const stream = events.open()
    assert.equal(looks, 1)
    stream?.destroy()
    if (stream) await once(stream, 'close')
    events[Symbol.dispose]()
    assert.equal(looks, 1)
  })
})
