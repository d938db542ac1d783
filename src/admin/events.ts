import type { UpstreamReport } from '../telemetry/metric-sources.ts'
import type { Event } from './event.ts'
import { EventStream } from './event-stream.ts'

export interface EventsOptions {
  readonly upstreams: () => readonly Pick<UpstreamReport, 'name' | 'state'>[]
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Open at the same time. */
const maxStreams = 32
/** Milliseconds between two checks of the upstreams, while a stream is open. */
const interval = 1000

/** Sends events to all open streams. Events are not kept: a stream gets those from after its opening. */
export class Events implements Disposable {
  readonly #options: EventsOptions
  readonly #streams = new Set<EventStream>()
  #resting: ReadonlySet<string> = new Set()
  #watch: NodeJS.Timeout | undefined
  #last = 0

  constructor(options: EventsOptions) {
    this.#options = options
  }

  /** Cheap, and never throws. */
  publish(event: Event): void {
    if (this.#streams.size === 0) return
    this.#last += 1
    const { type, ...facts } = event
    const data = JSON.stringify({ at: this.#options.now(), ...facts })
    for (const stream of this.#streams) stream.send(`event: ${type}\nid: ${this.#last}\ndata: ${data}\n\n`)
  }

  /** The stream ends when its reader leaves or `this` is disposed of. Undefined if too many are open. */
  open(): EventStream | undefined {
    if (this.#streams.size >= maxStreams) return undefined
    const stream = new EventStream()
    this.#streams.add(stream)
    stream.once('close', () => this.#left(stream))
    if (this.#watch === undefined) {
      this.#resting = this.#restingNow()
      this.#watch = setInterval(() => this.#checkUpstreams(), interval).unref()
    }
    return stream
  }

  [Symbol.dispose](): void {
    for (const stream of this.#streams) {
      this.#left(stream)
      stream.finish()
    }
  }

  #left(stream: EventStream): void {
    this.#streams.delete(stream)
    if (this.#streams.size > 0) return
    clearInterval(this.#watch)
    this.#watch = undefined
  }

  #checkUpstreams(): void {
    const [before, now] = [this.#resting, this.#restingNow()]
    this.#resting = now
    for (const upstream of now.difference(before)) this.publish({ type: 'upstream-resting', upstream })
    for (const upstream of before.difference(now)) this.publish({ type: 'upstream-back', upstream })
  }

  #restingNow(): ReadonlySet<string> {
    const resting = this.#options.upstreams().filter(({ state }) => state === 'resting')
    return new Set(resting.map(({ name }) => name))
  }
}
