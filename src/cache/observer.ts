import type { Digest } from '../oci/digest.ts'

/** Where an answer came from. Logs, metrics and `Cache-Status` (RFC 9211) use the same words. */
export const outcomes = ['hit', 'miss', 'collapsed', 'revalidated', 'stale'] as const
export type Outcome = (typeof outcomes)[number]

export type ContentKind = 'manifest' | 'blob'

/**
 * How a fill ended: `stored`; `mismatch` (the bytes do not match the digest); `failed` (no upstream delivered it);
 * `unwritable` (the store could not take it); `abandoned` (it had no followers, and others needed its place).
 */
export type FillEnd = 'stored' | 'mismatch' | 'failed' | 'unwritable' | 'abandoned'

export interface FillReport {
  readonly upstream: string
  readonly repository: string
  readonly digest: Digest
  readonly end: FillEnd
  /** Bytes received from upstream. */
  readonly bytes: number
  readonly seconds: number
  readonly error?: unknown
}

/** The running scrub, or the last one; counts are blobs. */
export interface ScrubReport {
  readonly state: 'idle' | 'running'
  /** Compared in this run, or the last one. */
  readonly checked: number
  /** Of these: missing, of a wrong size, or with bytes that do not match the digest. */
  readonly damaged: number
  /** Of the damaged: fetched again. */
  readonly repaired: number
  /** Epoch milliseconds; null before the first has ended. */
  readonly finishedAt: number | null
}

/** What the cache reports. Methods are quick and never throw. */
export interface Observer {
  answered(kind: ContentKind, upstream: string, outcome: Outcome): void
  /** Body bytes of blobs and manifests from an upstream, stored or not. */
  received(upstream: string, bytes: number): void
  fillStarted(upstream: string, digest: Digest): void
  fillEnded(report: FillReport): void
  /** Blobs went to make room, or were idle for too long. */
  evicted(report: { readonly blobs: number; readonly bytes: number }): void
  /** The content store took something, so it works. */
  storeWorks(): void
  /** A stored blob was missing, short or wrong, and was removed. */
  damaged(digest: Digest): void
  /** A client pulled the probe image, so it uses the mirror. */
  probed(upstream: string, client: { readonly address: string; readonly userAgent: string | undefined }): void
  /** The content store or the metadata store failed. The cache goes on without it. */
  storeFailed(store: 'content' | 'metadata', error: unknown): void
  /** An upstream could not be asked. The client got a stale answer, or an error. */
  upstreamFailed(upstream: string, error: unknown): void
}
