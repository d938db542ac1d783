import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'

/**
 * Whether an answer is one that a stranger could have had.
 *
 * `public`: it came anonymously, or an anonymous request has shown within the last minutes that anyone may read the
 * repository. `unproven`: it came with the help of a login, and nobody has looked whether it needed to.
 */
export type Visibility = 'public' | 'unproven'

export interface Manifest extends Descriptor {
  /** Exactly as sent: `digest` is computed from these bytes, never taken from a header. */
  readonly body: Buffer
  /** The upstream's validator, quotes and `W/` included; undefined where it sent none. */
  readonly etag: string | undefined
  readonly visibility: Visibility
}

/** What asking an upstream about a tag brought: by HEAD where the registry's HEAD is good, by conditional GET otherwise. */
export type Resolution =
  | { readonly kind: 'unchanged'; readonly visibility: Visibility }
  | {
      readonly kind: 'descriptor'
      readonly descriptor: Descriptor
      readonly etag: string | undefined
      readonly visibility: Visibility
    }
  | { readonly kind: 'manifest'; readonly manifest: Manifest }

/** What is already known of a tag: makes the question conditional. */
export interface Known {
  readonly digest: Digest
  readonly etag: string | undefined
}

/**
 * Where the reader of a body wants its bytes: then they are received there, and need not be copied. The reader takes every
 * chunk over, in order, before it asks for the next.
 */
export interface Memory {
  /** Whatever was received, and is not the reader's yet, is void: it will come again. */
  restart(): void
  /** Where the next bytes can be received, as soon as `hasRoom`; undefined where they have to be copied. Lent until `keep` or `restart`. */
  room(): Buffer | undefined
  /** Keeps bytes until the reader has them, and tells where: if not in the room that was lent, then as a copy. */
  keep(bytes: Buffer): Buffer
  /** Whether to go on receiving. The reader sees to it before it asks for more. */
  readonly hasRoom: boolean
  /** Has somebody else receive from a connection, by its descriptor. Undefined where nobody does, or not now. */
  readonly receive?: ((supply: Supply) => Intake | undefined) | undefined
}

export interface Supply {
  readonly socket: number
  /** How many bytes are wanted of it. */
  readonly length: number
  /** Milliseconds without a byte, after which to give up. */
  readonly stall: number
}

/** What somebody else receives: how many bytes more, until no more come; then `end` says why. */
export interface Intake extends AsyncIterable<number> {
  readonly end: 'whole' | 'closed' | 'stalled' | 'stopped' | { readonly code: string } | undefined
  /** Resolves when it does so no more. */
  stop(): Promise<void>
}

export interface BlobBody extends AsyncIterable<Buffer> {
  /** From now on, if it can be arranged, chunks are in this memory, and valid until the reader makes room there. */
  receiveInto?(memory: Memory): void
  /** After a chunk: yields how many bytes more have come into the memory by themselves, as long as some do. */
  bypass?(): AsyncIterable<number>
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
  readonly body: BlobBody
}

/** Bytes of a blob, from `start` to `end` inclusive; to the blob's end where `end` is undefined. */
export interface BlobSpan {
  readonly start: number
  readonly end: number | undefined
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
  /** As last told in `ratelimit-*` headers; null where it never was. */
  readonly rateLimit: RateLimit | null
}

/**
 * One remote registry, seen from here.
 *
 * `name` arguments are repository names as the registry knows them (`library/alpine`), already validated.
 * Absence is `undefined`: the registry said 404. A refusal is absence too: the registry said 401/403 to a fresh
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
  /** Epoch milliseconds until which the upstream rests after a failure; undefined while it is in order. */
  readonly restsUntil: number | undefined
  /** Tell that an answer is overdue: the upstream rests until it answers, or for its time. */
  overdue(): void

  resolve(name: string, tag: string, known: Known | undefined, signal: AbortSignal): Promise<Resolution | undefined>
  manifest(name: string, reference: Reference, signal: AbortSignal): Promise<Manifest | undefined>
  /** Proves that the repository holds a blob, without moving its bytes. `size` is undefined where the registry hides it. */
  statBlob(
    name: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<{ size: number | undefined; visibility: Visibility } | undefined>
  blob(name: string, digest: Digest, span: BlobSpan, signal: AbortSignal): Promise<BlobSource | undefined>
  status(): UpstreamStatus
}
