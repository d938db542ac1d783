/** Counts of durations by fixed upper bounds, for a Prometheus histogram. */
export class Distribution {
  /** Seconds, ascending. */
  readonly bounds: readonly number[]
  /** One for each bound, not cumulative, and one for durations above the last bound. */
  readonly counts: number[]
  sum = 0
  count = 0

  constructor(bounds: readonly number[]) {
    this.bounds = bounds
    this.counts = new Array<number>(bounds.length + 1).fill(0)
  }

  observe(seconds: number): void {
    let slot = 0
    while (slot < this.bounds.length && seconds > (this.bounds[slot] ?? 0)) slot += 1
    this.counts[slot] = (this.counts[slot] ?? 0) + 1
    this.sum += seconds
    this.count += 1
  }
}
