/** What must never be seen, by name. */
export const invariants = {
  'wrong-body': 'a completed body is not the content that was asked for',
  'wrong-tag': 'a tag is answered with what it never was',
  'old-tag': 'a tag is answered with what it no longer is, and the answer is not marked stale',
  'false-absence': 'a 404 for what exists',
  'internal-error': 'a 500',
  'no-right': 'bytes through a repository that does not hold them',
  'late-head': 'no answer within the deadline',
  'late-body': 'no byte of a body within the deadline',
  'not-served': 'no right answer though the upstream is well',
  'pinned-gone': 'what is pinned had to be fetched again',
  'evicted-in-use': 'what was being read had to be fetched again',
  'fetched-twice': 'a blob was downloaded twice where once was enough',
  'kept-waiting': 'a client that reads nothing was not cut off',
  'head-length': 'a HEAD without the length of what it describes',
  died: 'the process ended by itself',
  'no-start': 'the process did not start',
  'no-stop': 'the process did not stop in time',
  'spool-left': 'a spool was left behind',
  'fill-left': 'a download was still counted as running',
  'disk-differs': 'the disk, the records and the statistics do not agree',
  'above-bound': 'the store was above its bound',
  'descriptors-left': 'files or connections stayed open',
  'memory-left': 'memory did not come back',
  'not-ready': 'not ready, or degraded, after everything was well again',
} as const

export type Invariant = keyof typeof invariants

/** One thing that was seen and must not be. */
export interface Violation {
  readonly invariant: Invariant
  readonly detail: string
  /** What it is about: a digest, or repository:tag; empty where it is about the mirror. */
  readonly subject: string
  /** Seconds from the start. */
  readonly at: number
}
