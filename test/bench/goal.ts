/** One thing that has to hold, and what was measured. */
export interface Goal {
  readonly what: string
  readonly value: number
  readonly bound: number
  readonly kind: 'at least' | 'at most'
  readonly unit: '×' | 'ms' | 'MB' | '%'
}

export type Verdict = 'pass' | 'short'

export function atLeast(bound: number, unit: Goal['unit'], what: string, value: number): Goal {
  return { what, value, bound, kind: 'at least', unit }
}

export function atMost(bound: number, unit: Goal['unit'], what: string, value: number): Goal {
  return { what, value, bound, kind: 'at most', unit }
}

/** What could not be measured has not passed. */
export function verdictOf({ value, bound, kind }: Goal): Verdict {
  return (kind === 'at least' ? value >= bound : value <= bound) ? 'pass' : 'short'
}
