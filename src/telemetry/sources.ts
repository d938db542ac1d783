/** One upstream as its adapter tells it; counts since the start. */
export interface UpstreamReport {
  readonly name: string
  readonly state: 'ok' | 'resting'
  readonly requests: number
  readonly errors: number
  /** As last told by the upstream; null where it never was. `window` in seconds. */
  readonly rateLimit: { readonly limit: number; readonly remaining: number; readonly window: number } | null
}

/** Stored content without what is still being filled. */
export interface StorageUsage {
  readonly bytes: number
  readonly blobs: number
  /** What `bytes` is kept below; 0 where it has no bound. */
  readonly maxBytes: number
}

/** The scrub that runs, or the last: blobs. */
export interface ScrubReport {
  readonly state: 'idle' | 'running'
  readonly checked: number
  readonly damaged: number
  readonly repaired: number
  /** Epoch milliseconds; null before the first has ended. */
  readonly finishedAt: number | null
}

/** What is not counted here but asked for when someone wants to know. Answers from memory, or from an index. */
export interface Sources {
  upstreams(): readonly UpstreamReport[]
  usage(): Promise<StorageUsage>
  /** Bytes of the disk that the store lies on; undefined where it does not tell. */
  disk(): Promise<{ readonly total: number; readonly free: number } | undefined>
  scrub(): ScrubReport
  /** What does not work as it should, in short machine-readable words (`upstream:ghcr.io`); empty when all is well. */
  degraded(): readonly string[]
}
