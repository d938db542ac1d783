import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'

/**
 * Whether anybody may have this content.
 *
 * `public`: it came anonymously, or an anonymous request within the last minutes has shown that anybody may read the
 * repository. `unproven`: it came with the login, and nobody checked whether the login was needed.
 */
export type Visibility = 'public' | 'unproven'

/** How current an answer is, as it says itself: another cache may have given it (RFC 9111, RFC 9211). */
export interface Currency {
  /** Milliseconds since it was confirmed (`Age`). */
  readonly age: number
  /** The warning to pass on where the answer was stale; undefined where it was current. */
  readonly warning: string | undefined
}

export interface Manifest extends Descriptor {
  /** Exactly as sent. `digest` is computed from these bytes, unless the manifest is signed. */
  readonly body: Buffer
  /** Signed schema 1: its digest is not that of its bytes, so nobody can check them. It is passed on, and not kept. */
  readonly signed: boolean
  readonly currency: Currency
  /** The upstream's validator, with its quotes and `W/`; undefined where it sent none. */
  readonly etag: string | undefined
  readonly visibility: Visibility
}

/** The answer about a tag. `descriptor` comes from HEAD; `manifest` from a GET, where HEAD is of no use. */
export type Resolution =
  | { readonly kind: 'unchanged'; readonly currency: Currency }
  | {
      readonly kind: 'descriptor'
      readonly descriptor: Descriptor
      readonly currency: Currency
      readonly etag: string | undefined
    }
  | { readonly kind: 'manifest'; readonly manifest: Manifest }

/** What is already known of a tag. Makes the request conditional. */
export interface KnownTag {
  readonly digest: Digest
  readonly etag: string | undefined
}

/** A file that a body is written into. Open for as long as that takes. */
export interface BodyFile {
  readonly descriptor: number
  /** Where the first byte goes. */
  readonly offset: number
  /** Asked with the system's error when it takes no more: resolves when it is worth another try. What it rejects with ends the body. */
  readonly refused: (error: unknown) => Promise<void>
}

export interface BlobSource {
  /** Bytes of the whole blob; undefined where the upstream sends no length. */
  readonly size: number | undefined
  readonly visibility: Visibility
  /**
   * The bytes asked for, from the start asked for, in chunks that are valid until the next is asked for. Cuts, stalls, expired tokens
   * and expired redirects are resumed unseen; what cannot be resumed is thrown as UpstreamError. It ends cleanly only
   * at the end asked for (or at the end of a body without a length). Nothing of it is verified.
   * Whoever got the source iterates to the end, leaves the loop early, or aborts the signal: each closes the connection.
   */
  readonly body: AsyncIterable<Buffer>
}

/** The same for a body that goes into a file, which a thread may do. */
export interface BlobToFile extends Omit<BlobSource, 'body'> {
  /**
   * Writes the bytes into the file, and yields how many more it has. Once, with what is said of `BlobSource.body`. When it
   * has ended, or was left, nobody writes to the file any more. Time that a write takes is not counted as silence.
   */
  into(file: BodyFile): AsyncIterable<number>
  /** For whoever does not want it after all. */
  close(): void
}

/** A blob from `start` on, of whose whole `size` in bytes somebody has told. An answer of another size is an UpstreamError. */
export interface BlobRest {
  readonly start: number
  readonly size: number | undefined
}

/** Bytes of a blob, from `start` to `end` inclusive; to the blob's end where `end` is undefined. */
export interface BlobSpan {
  readonly start: number
  readonly end: number | undefined
  /** Bytes of the whole blob, where a descriptor says so. An answer of another size is an UpstreamError. */
  readonly size?: number | undefined
}

export interface RateLimit {
  readonly limit: number
  readonly remaining: number
  /** Seconds. */
  readonly window: number
}

export interface UpstreamStatus {
  readonly name: string
  readonly state: 'ok' | 'resting'
  /** Requests sent to the registry, its token service and the places it redirects to. */
  readonly requests: number
  readonly errors: number
  /** From the last `ratelimit-*` headers; null where there were none. */
  readonly rateLimit: RateLimit | null
  /** What an operator should know and do something about; null where there is nothing. */
  readonly notice: string | null
}

/**
 * One remote registry.
 *
 * `name` arguments are repository names as the registry knows them (`library/alpine`), already validated.
 * Absence is `undefined`: a registry said 404 itself (`judge.ts`). A refusal is absence too: the registry said 401/403 to a fresh
 * anonymous token (Docker Hub's way of saying that there is no such repository), or the repository may not be served
 * (`servesPrivate` false and anonymous access refused). Of blobs it is `undefined` as well; of manifests, where clients
 * are told, it is RegistryError NAME_UNKNOWN.
 * Every failure is an UpstreamError; an aborted signal throws the signal's reason.
 */
export interface Upstream {
  /** As users write it: `docker.io`. */
  readonly name: string
  /** Whether content may be served that only our login can read. */
  readonly servesPrivate: boolean
  /** The end of the rest after a failure, in epoch milliseconds; undefined while the upstream is in order. */
  readonly restsUntil: number | undefined
  /** Reports that an answer is overdue: the upstream rests until it answers, or until the rest is over. */
  overdue(): void

  resolve(name: string, tag: string, known: KnownTag | undefined, signal: AbortSignal): Promise<Resolution | undefined>
  manifest(name: string, reference: Reference, signal: AbortSignal): Promise<Manifest | undefined>
  /**
   * Proves that the repository holds a blob, without moving its bytes. `size` is undefined where the registry hides it.
   */
  statBlob(
    name: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ size: number | undefined; visibility: Visibility } | undefined>
  blob(name: string, digest: Digest, span: BlobSpan, signal: AbortSignal): Promise<BlobSource | undefined>
  /** The same for a file: a large one is received by a thread. */
  download(name: string, digest: Digest, rest: BlobRest, signal: AbortSignal): Promise<BlobToFile | undefined>
  status(): UpstreamStatus
}
