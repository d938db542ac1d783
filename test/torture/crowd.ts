import { setTimeout as sleep } from 'node:timers/promises'
import type { Ask } from './ask.ts'
import type { TrueBlob } from './catalogue.ts'
import { Habits } from './habits.ts'
import { judge, statusOf } from './judge.ts'
import type { Random } from './random.ts'
import type { Read } from './reads.ts'
import { type Seen, visit } from './visit.ts'
import type { World } from './world.ts'

const clients = 30
const patientClients = 7
/** Milliseconds for which the crowd wants the same blob. */
const fashion = 1500

export interface Tally {
  requests: number
  complete: number
  bytes: number
  readonly statuses: Record<string, number>
  readonly outcomes: Record<string, number>
}

/** Milliseconds, of the mirror's own running time. Beyond any of its own limits, so that only a hang passes them. */
const limits = { head: 30_000, silence: 40_000 }
/** Milliseconds for those that are still served when the attack is over: an upstream that is slow makes them slow. */
const leaveWithin = 60_000

/** The clients: each asks, waits for the end, is judged, and asks the next. */
export class Crowd {
  readonly tally: Tally = { requests: 0, complete: 0, bytes: 0, statuses: {}, outcomes: {} }
  readonly #world: World
  readonly #random: Random
  readonly #recent: string[] = []
  #hot: TrueBlob
  #running: Promise<unknown> | undefined
  #stopped = false
  #leaving = new AbortController()
  #fashion: NodeJS.Timeout | undefined

  constructor(world: World) {
    this.#world = world
    this.#random = world.random.fork('fashion')
    this.#hot = this.#fashionable()
  }

  /** The last requests, as they ended. */
  get recent(): readonly string[] {
    return this.#recent
  }

  start(): void {
    this.#stopped = false
    this.#fashion = setInterval(() => {
      this.#hot = this.#fashionable()
    }, fashion)
    this.#running = Promise.all(Array.from({ length: clients }, (_, at) => this.#live(at)))
  }

  /** No more requests; resolves when those under way have ended, or taken so long that their clients leave. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#fashion)
    const late = setTimeout(() => this.#leaving.abort(), leaveWithin)
    await this.#running
    clearTimeout(late)
    this.#leaving = new AbortController()
  }

  /** Asks once and judges; whoever wants to know how it went. */
  async ask(ask: Ask): Promise<Seen> {
    const { mirror, history, findings, excused } = this.#world
    let read: Read | undefined
    const { expectation } = ask
    const seen = await visit(
      mirror.url,
      {
        ...ask.visit,
        onHead: (status, headers) => {
          // Who takes nothing is cut, and does not notice.
          const takes = ask.visit.method === 'GET' && ask.visit.pauseFor === undefined
          if (expectation.kind === 'blob' && takes && status === 200) {
            this.#judgeUse(ask, headers)
            const { digest, bytes } = expectation
            const pace = ask.visit.rate === undefined ? 'quick' : 'slow'
            read = this.#world.reads.begin({
              digest,
              outcome: statusOf({ headers })[0],
              pace,
              size: bytes.size,
              sender: mirror.pid,
            })
          }
        },
        check: (at, chunk) => {
          if (read) read.left -= chunk.length
          return ask.visit.check?.(at, chunk) ?? true
        },
      },
      { ...limits, excused, leave: this.#leaving.signal },
    )
    if (read) this.#world.reads.end(read)
    this.#count(ask, seen)
    const lately = performance.now() - 15_000
    const diskWasFull = history.has('fill-disk', lately) || history.has('disk', lately)
    const around = { history, excused, hadGap: (since: number) => mirror.hadGapSince(since), diskWasFull }
    for (const { invariant, subject, detail } of judge(ask, seen, around)) findings.add(invariant, subject, detail)
    return seen
  }

  async #live(at: number): Promise<void> {
    const { mirror } = this.#world
    const random = this.#world.random.fork(`client ${at}`)
    const habits = new Habits(random, this.#world.catalogue, at < patientClients ? 'patient' : 'quick', () => this.#hot)
    while (!this.#stopped) {
      if (!mirror.isUp) {
        await sleep(50)
        continue
      }
      const seen = await this.ask(habits.next())
      // Who is refused does not come back at once.
      await sleep(seen.status >= 400 || seen.status === 0 ? random.between(20, 250) : random.between(0, 10))
    }
    habits.end()
  }

  /** Somebody who reads a blob keeps it: nobody who comes meanwhile has to wait for upstream (promise 12). */
  #judgeUse({ expectation }: Ask, headers: Seen['headers']): void {
    const { reads, history, mirror, findings } = this.#world
    if (expectation.kind !== 'blob') return
    const [first, second] = statusOf({ headers })
    const now = performance.now()
    if (first !== 'fwd=uri-miss' || second !== 'stored') return
    const reader = reads.of(expectation.digest).find(({ startedAt }) => startedAt < now - 500)
    if (!reader || (history.touchedAt(expectation.digest) ?? 0) > now - 60_000 || mirror.hadGapSince(now - 60_000))
      return
    const detail = `it had to be fetched again though a reader of what was a ${reader.outcome} was not through`
    findings.add('evicted-in-use', expectation.digest, detail)
  }

  #fashionable(): TrueBlob {
    const found = this.#world.catalogue.blobs.filter(({ bytes }) => bytes.size > 60_000 && bytes.size < 40_000_000)
    return this.#random.pick(found)
  }

  #count({ habit, visit: { method, path } }: Ask, seen: Seen): void {
    const { tally } = this
    tally.requests += 1
    if (seen.complete) tally.complete += 1
    tally.bytes += seen.bytes
    tally.statuses[seen.status] = (tally.statuses[seen.status] ?? 0) + 1
    const outcome =
      statusOf(seen)
        .join('; ')
        .replace(/ttl=-?\d+/, 'ttl') || '-'
    tally.outcomes[outcome] = (tally.outcomes[outcome] ?? 0) + 1
    const end = seen.complete ? 'complete' : seen.left ? 'left' : seen.error
    this.#recent.push(`${habit} ${method} ${path} ${seen.status} ${outcome} ${seen.bytes} ${end}`)
    if (this.#recent.length > 40) this.#recent.shift()
  }
}
