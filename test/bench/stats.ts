/** One round's figures of one contender, by column. */
export type Sample = Readonly<Record<string, number>>

/** All rounds of every contender, in the order they were measured. */
export type Samples = ReadonlyMap<string, readonly Sample[]>

export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b)
  const middle = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]]
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2
}

/** The value that so many of a hundred do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? Number.NaN
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** One column of one contender over the rounds. */
export function columnOf(samples: Samples, contender: string, column: string): number[] {
  return (samples.get(contender) ?? []).map((sample) => sample[column] ?? Number.NaN)
}

export function medianOf(samples: Samples, contender: string, column: string): number {
  return median(columnOf(samples, contender, column))
}

/** The median of each round's own ratio: what disturbs a whole round disturbs both of its sides. */
export function ratioOf(samples: Samples, column: string, of: string, to: string): number {
  const under = columnOf(samples, to, column)
  return median(columnOf(samples, of, column).map((value, round) => value / (under[round] ?? Number.NaN)))
}
