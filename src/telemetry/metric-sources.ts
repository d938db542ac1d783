import type { ScrubReport } from '../cache/observer.ts'

/** An upstream's state, and its counts since the start. */
export interface UpstreamReport {
  readonly name: string
  readonly state: 'ok' | 'resting'
  readonly requests: number
  readonly errors: number
  /** The last that the upstream sent; null if it never sent one. `window` in seconds. */
  readonly rateLimit: { readonly limit: number; readonly remaining: number; readonly window: number } | null
}

/** Stored content, without running fills. */
export interface StorageUsage {
  readonly bytes: number
  readonly blobs: number
  /** The bound on `bytes`; 0 if there is none. */
  readonly maxBytes: number
}

/** Values that metrics and statistics read from other rooms. They come from memory or an index, and so are cheap. */
export interface MetricSources {
  upstreams(): readonly UpstreamReport[]
  usage(): Promise<StorageUsage>
  /** Bytes of the store's disk; undefined if the system does not say. */
  disk(): Promise<{ readonly total: number; readonly free: number } | undefined>
  scrub(): ScrubReport
  /** Names of the parts that fail now, such as `storage` or `upstream:ghcr.io`; empty if none does. */
  degraded(): readonly string[]
}
