import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import { pathOf } from '../../src/storage/layout.ts'
import type { Behaviour } from '../support/behaviour.ts'
import type { Received } from '../support/client.ts'
import { Gate } from '../support/gate.ts'
import { image, type TestImage } from '../support/image.ts'
import { Stage } from '../support/stage.ts'
import { TestUpstream } from '../support/upstream.ts'
import { until } from '../support/wait.ts'
import { bypass, collapsed, errorOf, hit, miss, outcomeOf, revalidated } from './answer.ts'

const minute = 60_000
const ttl = 5 * minute
const manifestGets = { kind: 'manifest', method: 'GET' } as const
const manifests = { kind: 'manifest' } as const
const latest = '/v2/library/alpine/manifests/latest'

const first = image()
const second = image({ config: { second: true } })

function add(upstream: TestUpstream, added: TestImage = first): Digest {
  return upstream.addImage('library/alpine', 'latest', added)
}

/** As an eviction leaves it, in memory too. */
async function lose(stage: Stage, digest: Digest): Promise<void> {
  await stage.stop()
  for (const kind of ['blob', 'note'] as const) await rm(pathOf(stage.path, { kind, digest }))
  await stage.restart()
}

function assertServes(answer: Received, expected: TestImage, status: string): void {
  assert.deepEqual(
    [answer.status, answer.headers['docker-content-digest'], answer.digest, outcomeOf(answer)],
    [200, expected.manifest.digest, expected.manifest.digest, status],
  )
}

function assertStale(answer: Received, expected: TestImage, { now, past }: { now: number; past: number }): void {
  assertServes(answer, expected, `entrepot; hit; ttl=-${past}; detail=stale`)
  assert.equal(answer.headers['age'], String(ttl / 1000 + past))
  const since = new Date(now - past * 1000 - ttl).toISOString()
  assert.equal(answer.headers['warning'], `299 - "stale: upstream unavailable since ${since}"`)
}

describe('a cold tag', () => {
  it('costs one GET, however many clients ask at once', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    const gate = new Gate()
    stage.upstream.fault(manifestGets, { gate })
    const clients = Array.from({ length: 32 }, () => stage.get(latest))
    await gate.arrived()
    gate.open()
    const outcomes = (await Promise.all(clients)).map((answer) => {
      assert.equal(answer.digest, first.manifest.digest)
      return outcomeOf(answer)
    })
    assert.equal(stage.upstream.count(manifests), 1)
    assert.equal(outcomes.filter((outcome) => outcome === miss).length, 1)
    assert.equal(outcomes.filter((outcome) => outcome === collapsed || outcome === hit).length, 31)
  })

  it('is asked for by HEAD where a client does: no manifest is fetched, and the answer counts for its time', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    const expected = [200, `${first.manifest.size}`, first.manifest.mediaType, first.manifest.digest]
    for (const [upstreamHeads, outcome, wait] of [
      [1, bypass, 0],
      [1, hit, ttl - 1],
      [2, bypass, 1],
    ] as const) {
      stage.clock.now += wait
      const { status, headers } = await stage.get(latest, { method: 'HEAD' })
      const told = [headers['content-length'], headers['content-type'], headers['docker-content-digest']]
      assert.deepEqual([status, ...told], expected)
      assert.equal(headers['cache-status'], outcome)
      assert.equal(stage.upstream.count({ kind: 'manifest', method: 'HEAD' }), upstreamHeads)
    }
    assert.equal(stage.upstream.count(manifestGets), 0)
    await stage.upstream.stop()
    assert.equal((await stage.get(latest, { method: 'HEAD' })).headers['cache-status'], hit)
    assert.equal((await stage.get(latest)).status, 503)
  })

  it('whose manifest is fetched by digest after a HEAD is known from then on', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    const digest = String((await stage.get(latest, { method: 'HEAD' })).headers['docker-content-digest'])
    assertServes(await stage.get(`/v2/library/alpine/manifests/${digest}`), first, miss)
    assert.deepEqual([stage.upstream.count(manifestGets), stage.upstream.count(manifests)], [1, 2])
    await stage.upstream.stop()
    assertServes(await stage.get(latest), first, hit)
    stage.clock.now += ttl
    assertServes(await stage.get(latest), first, 'entrepot; hit; ttl=0; detail=stale')
  })

  it('whose manifest is stored already is known after a HEAD', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    const digest = String((await stage.get(latest)).headers['docker-content-digest'])
    stage.upstream.tag('library/alpine', '3.20', digest as Digest)
    const other = '/v2/library/alpine/manifests/3.20'
    assert.equal((await stage.get(other, { method: 'HEAD' })).headers['docker-content-digest'], digest)
    await stage.upstream.stop()
    assertServes(await stage.get(other), first, hit)
  })

  it('is asked for by one HEAD, however many clients do at once', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    const gate = new Gate()
    stage.upstream.fault({ method: 'HEAD' }, { gate })
    const clients = Array.from({ length: 8 }, () => stage.get(latest, { method: 'HEAD' }))
    await gate.arrived()
    gate.open()
    for (const { status } of await Promise.all(clients)) assert.equal(status, 200)
    assert.equal(stage.upstream.count(manifests), 1)
  })

  it('is fetched for a HEAD of a client where the registry answers none', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    stage.upstream.fault({ kind: 'manifest', method: 'HEAD' }, { status: 405 })
    assert.equal((await stage.get(latest, { method: 'HEAD' })).headers['cache-status'], miss)
    assertServes(await stage.get(latest), first, hit)
    assert.equal(stage.upstream.count(manifestGets), 1)
  })
})

describe('a fresh tag', () => {
  it('costs nothing until its time is over', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    add(stage.upstream, second)
    stage.upstream.reset()
    stage.clock.now += ttl - 1
    for (let pull = 0; pull < 20; pull += 1) assertServes(await stage.get(latest), first, hit)
    assert.equal(stage.upstream.count(), 0)
    stage.clock.now += 1
    assertServes(await stage.get(latest), second, miss)
    assertServes(await stage.get(latest), second, hit)
  })

  it('outlives a restart, with every upstream down', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    await stage.upstream.stop()
    await stage.restart()
    assertServes(await stage.get(latest), first, hit)
  })

  it('is fetched again where its manifest is gone from the store', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    await lose(stage, first.manifest.digest)
    assertServes(await stage.get(latest), first, miss)
  })

  it('is asked for again where its manifest is gone from the store and from the upstream', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    await lose(stage, first.manifest.digest)
    add(stage.upstream, second)
    stage.upstream.removeManifest('library/alpine', first.manifest.digest)
    assertServes(await stage.get(latest), second, miss)
  })
})

describe('a tag that its upstream confirms, and whose manifest it does not have', () => {
  it('is a fault, found by a few questions', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    await lose(stage, first.manifest.digest)
    stage.upstream.fault({ kind: 'manifest', method: 'GET' }, { status: 404 })
    stage.upstream.reset()
    assert.equal((await stage.get(latest)).status, 502)
    assert.ok(stage.upstream.count({ kind: 'manifest' }) <= 6)
  })
})

describe('a tag past its time', () => {
  it('is confirmed a hundred times without one GET that Docker Hub would count', async () => {
    await using stage = await Stage.start({ upstream: await TestUpstream.dockerHub() })
    add(stage.upstream)
    await stage.get(latest)
    stage.upstream.reset()
    for (let pull = 0; pull < 100; pull += 1) {
      stage.clock.now += ttl
      assertServes(await stage.get(latest), first, revalidated)
    }
    assert.equal(stage.upstream.count(manifestGets), 0)
    assert.equal(stage.upstream.count({ kind: 'manifest', method: 'HEAD', status: [200, 304] }), 100)
  })

  it('is checked once, however many clients ask at once', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    add(stage.upstream, second)
    stage.clock.now += ttl
    stage.upstream.reset()
    const gate = new Gate()
    stage.upstream.fault({ method: 'HEAD' }, { gate })
    const clients = Array.from({ length: 32 }, () => stage.get(latest))
    await gate.arrived()
    gate.open()
    const outcomes = (await Promise.all(clients)).map((answer) => {
      assert.equal(answer.digest, second.manifest.digest)
      return outcomeOf(answer)
    })
    assert.deepEqual([stage.upstream.count({ method: 'HEAD' }), stage.upstream.count(manifestGets)], [1, 1])
    assert.equal(outcomes.filter((outcome) => outcome === miss).length, 1)
  })

  it('is asked for by conditional GET where HEAD does not tell the digest', async () => {
    const behaviour = { status: 200, body: '', omitHeaders: ['docker-content-digest'] }
    const quirks = [{ match: { kind: 'manifest', method: 'HEAD' }, behaviour }] as const
    await using stage = await Stage.start({ upstream: await TestUpstream.start({ etag: 'opaque', quirks }) })
    add(stage.upstream)
    await stage.get(latest)
    stage.upstream.reset()
    for (let pull = 0; pull < 3; pull += 1) {
      stage.clock.now += ttl
      assertServes(await stage.get(latest), first, revalidated)
    }
    const asked = stage.upstream.requests.map(({ method, status }) => `${method} ${status}`)
    assert.deepEqual(asked, ['HEAD 200', 'GET 304', 'GET 304', 'GET 304'])
    add(stage.upstream, second)
    stage.clock.now += ttl
    stage.upstream.reset()
    assertServes(await stage.get(latest), second, miss)
    assert.deepEqual(
      stage.upstream.requests.map(({ method, status }) => `${method} ${status}`),
      ['GET 200'],
    )
  })

  it('stays where it was until its new target is here', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    add(stage.upstream, second)
    const fault = stage.upstream.fault(manifestGets, { status: 500 })
    stage.clock.now += ttl + 7000
    assertStale(await stage.get(latest), first, { now: stage.clock.now, past: 7 })
    fault.remove()
    stage.clock.now += minute
    assertServes(await stage.get(latest), second, miss)
  })

  it('goes where the upstream no longer has it, and does not come back when the upstream is away', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    stage.upstream.removeTag('library/alpine', 'latest')
    stage.clock.now += ttl
    assert.deepEqual(errorOf(await stage.get(latest)), { status: 404, code: 'MANIFEST_UNKNOWN' })
    await stage.upstream.stop()
    stage.clock.now += minute
    assert.equal((await stage.get(latest)).status, 503)
    await stage.restart()
    assert.equal((await stage.get(latest)).status, 503)
    const byDigest = await stage.get(`/v2/library/alpine/manifests/${first.manifest.digest}`)
    assertServes(byDigest, first, hit)
  })
})

interface Outage {
  readonly name: string
  begin(stage: Stage): Promise<unknown> | unknown
  end(stage: Stage): Promise<unknown> | unknown
  /** For what is not cached. */
  readonly uncached: { readonly status: number; readonly code: string }
  /** For who need not wait for the upstream to say it. */
  readonly tagDeadline?: string
}

function faulty(name: string, behaviour: Behaviour, uncached: Outage['uncached']): Outage {
  return {
    name,
    begin: ({ upstream }) => upstream.fault({}, behaviour),
    end: ({ upstream }) => upstream.clearFaults(),
    uncached,
  }
}

/** Takes the port of a stopped upstream. */
class Babbler {
  #server: Server | undefined
  readonly #sockets = new Set<Socket>()

  async begin({ upstream }: Stage, says: string): Promise<void> {
    const port = Number(new URL(upstream.url).port)
    await upstream.stop()
    this.#server = createServer((socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.end(says)
    })
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  async end({ upstream }: Stage): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server?.close(resolve))
    await upstream.restart()
  }
}

const unavailable = { status: 503, code: 'UNAVAILABLE' }
const babbler = new Babbler()
const outages: Outage[] = [
  {
    name: 'connections refused',
    begin: ({ upstream }) => upstream.stop(),
    end: ({ upstream }) => upstream.restart(),
    uncached: unavailable,
  },
  {
    name: 'no answer',
    begin: ({ upstream }) => upstream.hang(),
    end: ({ upstream }) => upstream.restart(),
    uncached: { status: 504, code: 'UPSTREAM_TIMEOUT' },
    tagDeadline: '50ms',
  },
  faulty('500', { status: 500 }, unavailable),
  faulty('502 in HTML', { status: 502, body: '<html>', headers: { 'content-type': 'text/html' } }, unavailable),
  faulty('503', { status: 503 }, unavailable),
  faulty('connections cut', { instead: 'fin' }, unavailable),
  faulty('connections reset', { instead: 'rst' }, unavailable),
  faulty('429', { status: 429, headers: { 'retry-after': '90' } }, { status: 429, code: 'TOOMANYREQUESTS' }),
  {
    name: 'what is no HTTP',
    begin: (stage) => babbler.begin(stage, 'SSH-2.0-OpenSSH_9.2\r\n'),
    end: (stage) => babbler.end(stage),
    uncached: { status: 502, code: 'UPSTREAM_INVALID' },
  },
]

describe('with the upstream off', () => {
  for (const { name, begin, end, uncached, tagDeadline } of outages) {
    it(`${name}: tags are stale and quick, digests as ever, the rest is told apart from absence`, async () => {
      // Short only where nothing but the time ends the waiting.
      const upstreamHeaders = tagDeadline === undefined ? '30s' : '1s'
      const timeouts = { tagDeadline: tagDeadline ?? '60s', upstreamHeaders }
      await using stage = await Stage.start({ config: { timeouts } })
      const { upstream, clock } = stage
      add(upstream)
      await stage.get(latest)
      await stage.get(`/v2/library/alpine/blobs/${first.config.digest}`)
      clock.now += ttl + 412_000
      await begin(stage)
      upstream.reset()
      assertStale(await stage.get(latest), first, { now: clock.now, past: 412 })
      await until(() => upstream.requests.every(({ state }) => state !== 'open'), 'the check to end')
      upstream.reset()
      for (let pull = 0; pull < 20; pull += 1) {
        assertStale(await stage.get(latest), first, { now: clock.now, past: 412 })
      }
      assertServes(await stage.get(`/v2/library/alpine/manifests/${first.manifest.digest}`), first, hit)
      assert.equal((await stage.get(`/v2/library/alpine/blobs/${first.config.digest}`)).digest, first.config.digest)
      assert.equal(upstream.count(), 0)

      for (const path of [
        '/v2/library/other/manifests/latest',
        `/v2/library/alpine/manifests/${second.manifest.digest}`,
        `/v2/library/alpine/blobs/${second.config.digest}`,
      ]) {
        const answer = await stage.get(path)
        assert.deepEqual(errorOf(answer), uncached, path)
        const again = uncached.status === 502 ? 1 : Number(answer.headers['retry-after'])
        assert.ok(again >= 1, `Retry-After ${answer.headers['retry-after']}`)
        assert.equal((await stage.get(path, { method: 'HEAD' })).status, uncached.status, path)
      }

      await end(stage)
      clock.now += 2 * minute
      assertServes(await stage.get(latest), first, revalidated)
    })
  }

  it('without TLS: an upstream that does not speak it is away', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    stage.clock.now += ttl + 1000
    await stage.restart({ url: stage.upstream.url.replace('http:', 'https:') })
    assertStale(await stage.get(latest), first, { now: stage.clock.now, past: 1 })
    assert.deepEqual(errorOf(await stage.get('/v2/library/other/manifests/latest')), unavailable)
  })

  it('a tag is not served beyond its time for staleness', async () => {
    await using stage = await Stage.start({ entry: { staleFor: '1h' } })
    add(stage.upstream)
    await stage.get(latest)
    await stage.upstream.stop()
    stage.clock.now += ttl + 60 * minute - 1000
    assertStale(await stage.get(latest), first, { now: stage.clock.now, past: 3599 })
    stage.clock.now += 1000
    assert.deepEqual(errorOf(await stage.get(latest)), unavailable)
    assertServes(await stage.get(`/v2/library/alpine/manifests/${first.manifest.digest}`), first, hit)
  })

  it('the mirror starts, and serves what it has', async () => {
    await using stage = await Stage.start()
    add(stage.upstream)
    await stage.get(latest)
    await stage.stop()
    await stage.upstream.stop()
    stage.clock.now += ttl + 1000
    await stage.restart()
    assertStale(await stage.get(latest), first, { now: stage.clock.now, past: 1 })
  })

  it('a limited Hub costs a GET of the new target, and no answer', async () => {
    await using stage = await Stage.start({
      upstream: await TestUpstream.dockerHub({ rateLimit: { limit: 1, window: 21600 } }),
    })
    add(stage.upstream)
    await stage.get(latest)
    add(stage.upstream, second)
    stage.clock.now += ttl + 1000
    stage.upstream.reset()
    assertStale(await stage.get(latest), first, { now: stage.clock.now, past: 1 })
    assert.deepEqual(
      stage.upstream.requests
        .filter(({ kind }) => kind === 'manifest')
        .map(({ method, status }) => `${method} ${status}`),
      ['HEAD 200', 'GET 429'],
    )
    const answer = await stage.get('/v2/library/other/manifests/1')
    assert.deepEqual(errorOf(answer), { status: 429, code: 'TOOMANYREQUESTS' })
  })
})

describe('a check that is overdue', () => {
  it('keeps nobody waiting who comes later', async () => {
    await using stage = await Stage.start({ config: { timeouts: { tagDeadline: '500ms' } } })
    const edge = '/v2/library/alpine/manifests/edge'
    const digest = add(stage.upstream)
    stage.upstream.tag('library/alpine', 'edge', digest)
    await stage.get(latest)
    await stage.get(edge)
    stage.clock.now += ttl
    const gate = new Gate()
    stage.upstream.fault({ method: 'HEAD' }, { gate })
    assert.match(outcomeOf(await stage.get(latest)), /stale/)
    // Over is the rest that this brought, and not the check.
    stage.clock.now += minute
    const order: string[] = []
    const other = stage.get(edge).then(() => order.push('edge'))
    await gate.arrived(2)
    await stage.get(latest).then(() => order.push('latest'))
    await other
    assert.deepEqual(order, ['latest', 'edge'])
    gate.open()
  })

  it('goes on behind, and what it brings counts', async () => {
    await using stage = await Stage.start({ config: { timeouts: { tagDeadline: '1ms' } } })
    add(stage.upstream)
    await stage.get(latest)
    add(stage.upstream, second)
    stage.clock.now += ttl + 1000
    const gate = new Gate()
    stage.upstream.fault({ method: 'HEAD' }, { gate })
    assertStale(await stage.get(latest), first, { now: stage.clock.now, past: 1 })
    assert.equal((await upstreamOf(stage)).state, 'resting')
    gate.open()
    const answer = await until(async () => {
      const received = await stage.get(latest)
      return received.digest === second.manifest.digest ? received : undefined
    }, 'the check to end')
    assert.equal(outcomeOf(answer), hit)
    assert.equal((await upstreamOf(stage)).state, 'ok')
    assert.equal(stage.upstream.count({ method: 'HEAD' }), 1)
  })
})

async function upstreamOf({ mirror }: Stage): Promise<{ state: string }> {
  const response = await fetch(`${mirror.adminUrl}/api/upstreams`)
  const [upstream] = (await response.json()) as { state: string }[]
  return upstream ?? { state: 'absent' }
}
