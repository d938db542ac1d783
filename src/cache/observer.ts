import type { Digest } from '../oci/digest.ts'

/** Where an answer came from; also the vocabulary of logs, metrics and `Cache-Status` (RFC 9211). */
export type Outcome = 'hit' | 'miss' | 'collapsed' | 'revalidated' | 'stale'

export const outcomes = ['hit', 'miss', 'collapsed', 'revalidated', 'stale'] as const satisfies readonly Outcome[]

export type ContentKind = 'manifest' | 'blob'

/**
 * How a fill ended: `stored`; `mismatch` (the bytes were not the digest's); `failed` (the upstream gave up on it);
 * `unwritable` (the store did); `abandoned` (nobody followed it any more, and others needed its place).
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

/** What the cache tells the world. Methods are quick and never throw. */
export interface Observer {
  answered(kind: ContentKind, upstream: string, outcome: Outcome): void
  /** Body bytes of blobs and manifests that came from an upstream, stored or not. */
  received(upstream: string, bytes: number): void
  fillStarted(upstream: string, digest: Digest): void
  fillEnded(report: FillReport): void
  /** What had to make room, or had not been wanted for too long. */
  evicted(report: { readonly blobs: number; readonly bytes: number }): void
  /** The content store has taken something: it works. */
  storeWorks(): void
  /** A stored blob turned out missing, short or wrong, and was taken out. */
  damaged(digest: Digest): void
  /** A client pulled the probe image: it uses the mirror. */
  probed(upstream: string, client: { readonly address: string; readonly userAgent: string | undefined }): void
  /** The content store or the metadata store failed, and the cache went on without it. */
  storeFailed(store: 'content' | 'metadata', error: unknown): void
  /** An upstream could not be asked for something that was then answered stale, or not at all. */
  upstreamFailed(upstream: string, error: unknown): void
}
