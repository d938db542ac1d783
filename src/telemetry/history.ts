import { Counters, type OutcomeCounts, sumOutcomes } from './counters.ts'
import { addTally, difference, sumOf, type Tally, tallyOf } from './tally.ts'

/** Keeps sums across restarts. A method rejects when the store fails. */
export interface TallyStore {
  /** Adds all of the deltas, or none, to the totals and to the bucket that starts at `bucket` (epoch milliseconds). */
  addCounts(bucket: number, deltas: Tally): Promise<void>
  totals(): Promise<Tally>
  /** Buckets that start at or after `from`, oldest first. */
  buckets(from: number): Promise<readonly { readonly at: number; readonly counts: Tally }[]>
  deleteBuckets(before: number): Promise<void>
}

/** What was counted in one period. */
export interface Point {
  /** Epoch milliseconds of its start. */
  readonly at: number
  /** Answers of any kind and upstream. */
  readonly requests: OutcomeCounts
  /** Body bytes. */
  readonly served: number
  readonly fromUpstream: number
  /** Blobs evicted. */
  readonly evictions: number
}

/** Oldest first, without gaps; the last point is the current period. */
export interface TimeSeries {
  /** 12 points of 5 minutes. */
  readonly hour: readonly Point[]
  /** 24 points of an hour. */
  readonly day: readonly Point[]
}

export interface HistoryOptions {
  readonly counters: Counters
  readonly store: TallyStore
  readonly now: () => number
  /** The store failed. What could not be written is kept and written later. */
  readonly onFailure: (error: unknown) => void
}

const minute = 60_000
const bucketLength = 5 * minute
const hour = 60 * minute
const day = 24 * hour
/** Milliseconds between two writes; a killed process loses as much. */
const interval = 10_000

/** Keeps the counters across restarts, and the counts of the last day by periods of 5 minutes. */
export class History implements AsyncDisposable {
  readonly #options: HistoryOptions
  readonly #timer: NodeJS.Timeout
  /** The stored buckets of the last day, by their start. */
  readonly #buckets: Map<number, Tally>
  #written: Tally
  #writing: Promise<void> = Promise.resolve()
  #prunedAt = Number.NEGATIVE_INFINITY

  /** Adds the stored totals to the counters. */
  static async open(options: HistoryOptions): Promise<History> {
    const { counters, store, now, onFailure } = options
    try {
      const totals = await store.totals()
      const buckets = await store.buckets(now() - day)
      const before = tallyOf(counters)
      addTally(counters, totals)
      const known = buckets.map(({ at, counts }) => [at, counts] as const)
      return new History(options, difference(tallyOf(counters), before), new Map(known))
    } catch (error) {
      onFailure(error)
      return new History(options, {}, new Map())
    }
  }

  private constructor(options: HistoryOptions, written: Tally, buckets: Map<number, Tally>) {
    this.#options = options
    this.#written = written
    this.#buckets = buckets
    this.#timer = setInterval(() => void this.flush(), interval).unref()
  }

  /** Writes what was counted since the last write. Never rejects. */
  flush(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write())
    return this.#writing
  }

  /** Includes what is not written yet. */
  series(): TimeSeries {
    const now = this.#options.now()
    const buckets = [...this.#buckets, [startOf(now, bucketLength), this.#unwritten()] as const]
    const points = (length: number, count: number): Point[] =>
      Array.from({ length: count }, (_, place) => {
        const from = startOf(now, length) - (count - 1 - place) * length
        const within = buckets.filter(([at]) => at >= from && at < from + length)
        return pointOf(
          from,
          within.map(([, tally]) => tally),
        )
      })
    return { hour: points(bucketLength, hour / bucketLength), day: points(hour, day / hour) }
  }

  /** Writes once more. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.flush()
  }

  #unwritten(): Tally {
    return difference(tallyOf(this.#options.counters), this.#written)
  }

  async #write(): Promise<void> {
    const { store, now, onFailure } = this.#options
    const deltas = this.#unwritten()
    const bucket = startOf(now(), bucketLength)
    try {
      if (Object.keys(deltas).length > 0) {
        await store.addCounts(bucket, deltas)
        this.#written = sumOf([this.#written, deltas])
        this.#buckets.set(bucket, sumOf([this.#buckets.get(bucket) ?? {}, deltas]))
      }
      if (bucket - this.#prunedAt < hour) return
      this.#prunedAt = bucket
      for (const at of this.#buckets.keys()) if (at < bucket - day) this.#buckets.delete(at)
      await store.deleteBuckets(bucket - day)
    } catch (error) {
      onFailure(error)
    }
  }
}

function startOf(at: number, length: number): number {
  return Math.floor(at / length) * length
}

function pointOf(at: number, tallies: readonly Tally[]): Point {
  const counters = new Counters([])
  addTally(counters, sumOf(tallies))
  const upstreams = [...counters.upstreams.values()]
  const requests = sumOutcomes(upstreams.flatMap(({ answers }) => Object.values(answers)))
  const fromUpstream = upstreams.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0)
  return { at, requests, served: counters.servedBytes, fromUpstream, evictions: counters.evictedBlobs }
}
