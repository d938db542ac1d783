import type { FaultName, Weather } from './faults.ts'

interface Lie {
  readonly at: number
  readonly fault: FaultName
}

/** Something that happened, at a time by `performance.now`. */
interface Happened {
  readonly at: number
  readonly what: string
}

interface TagSpan {
  readonly digest: string
  readonly from: number
  to: number
}

/** What was done to the mirror and to its upstream, and when: what an answer has to be judged by. */
export class History {
  readonly #events: Happened[] = []
  readonly #lies = new Map<string, Lie[]>()
  readonly #sent: { readonly digest: string; readonly bytes: number; readonly at: number }[] = []
  readonly #tags = new Map<string, TagSpan[]>()
  readonly #refused = new Map<string, number>()
  readonly #touched = new Map<string, number>()
  #weather: Weather = 'calm'
  #calmSince = 0
  #outages = 0

  get weather(): Weather {
    return this.#weather
  }

  /** Milliseconds for which the upstream has been there, and without faults; 0 while it is not. */
  get calmFor(): number {
    return this.#weather === 'calm' && this.#outages === 0 ? performance.now() - this.#calmSince : 0
  }

  record(what: string): void {
    this.#events.push({ at: performance.now(), what })
  }

  /** Whether anything that begins like this has happened since. */
  has(what: string, since: number): boolean {
    return this.#events.some((event) => event.at >= since && event.what.startsWith(what))
  }

  setWeather(weather: Weather): void {
    this.record(`weather ${weather}`)
    this.#weather = weather
    this.#calmSince = performance.now()
  }

  /** The upstream is away, or narrow, until `endOutage`. */
  beginOutage(): void {
    this.#outages += 1
  }

  endOutage(): void {
    this.#outages -= 1
    this.#calmSince = performance.now()
  }

  /** The upstream has answered wrongly about this reference of this repository. */
  lied(repository: string, reference: string, fault: FaultName): void {
    const key = `${repository} ${reference}`
    const lies = this.#lies.get(key) ?? []
    lies.push({ at: performance.now(), fault })
    this.#lies.set(key, lies)
  }

  /** The faults that answers about this reference have had since. */
  liesAbout(repository: string, reference: string, since: number): readonly FaultName[] {
    const lies = this.#lies.get(`${repository} ${reference}`) ?? []
    return lies.filter(({ at }) => at >= since).map(({ fault }) => fault)
  }

  /** The mirror took a token that was refused for an absence, and remembers it. */
  refuse(repository: string, reference: string): void {
    this.#refused.set(`${repository} ${reference}`, performance.now())
  }

  wasRefused(repository: string, reference: string, since: number): boolean {
    return (this.#refused.get(`${repository} ${reference}`) ?? Number.NEGATIVE_INFINITY) >= since
  }

  /** The mirror is through with sending somebody so many bytes of a stored blob. */
  sent(digest: string, bytes: number): void {
    this.#sent.push({ digest, bytes, at: performance.now() })
    if (this.#sent.length > 5000) this.#sent.shift()
  }

  /** Whether, since, it was through with somebody before it had sent so many: who is slow may be cut and not notice. */
  hasCut(digest: string, size: number, since: number): boolean {
    return this.#sent.some((sent) => sent.at >= since && sent.digest === digest && sent.bytes < size)
  }

  /** A stored file was damaged, or purged: what was said of it before does not hold. */
  touch(digest: string): void {
    this.#touched.set(digest, performance.now())
  }

  touchedAt(digest: string): number | undefined {
    return this.#touched.get(digest)
  }

  pointTag(name: string, digest: string): void {
    const spans = this.#tags.get(name) ?? []
    const now = performance.now()
    const last = spans.at(-1)
    if (last?.digest === digest) return
    if (last) last.to = now
    spans.push({ digest, from: now, to: Number.POSITIVE_INFINITY })
    this.#tags.set(name, spans)
  }

  /** When the tag last pointed there; undefined where it never did, infinity where it still does. */
  lastPointed(name: string, digest: string): number | undefined {
    const times = (this.#tags.get(name) ?? []).filter((span) => span.digest === digest).map(({ to }) => to)
    return times.length === 0 ? undefined : Math.max(...times)
  }

  /** The last things that happened, the newest last. */
  last(count: number): readonly string[] {
    const now = performance.now()
    return this.#events.slice(-count).map(({ at, what }) => `${((at - now) / 1000).toFixed(1)} s ${what}`)
  }
}
