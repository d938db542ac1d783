import type { Gate } from './gate.ts'

/**
 * How an answer goes wrong. All offsets count bytes of the body of this one answer, so from the start of the range
 * where a range was asked for. Whatever is not mentioned stays as it would be.
 */
export interface Behaviour {
  /** How many requests it applies to; all, unless given. */
  readonly times?: number

  /** Milliseconds before the headers. */
  readonly delay?: number
  /** Milliseconds between the headers and the body. */
  readonly bodyDelay?: number
  /** Bytes per second. */
  readonly throttle?: number
  /** Waited for before the headers; or, with `gateAt`, when that many body bytes are sent. */
  readonly gate?: Gate | Promise<unknown>
  readonly gateAt?: number
  /** More gates. */
  readonly gates?: readonly { readonly at: number; readonly gate: Gate | Promise<unknown> }[]

  /**
   * No answer at all: the connection is closed, or stays open and silent. `malformed`: a head that HTTP does not allow,
   * with two lengths that differ.
   */
  readonly instead?: 'fin' | 'rst' | 'silence' | 'malformed'
  /** After so many body bytes: nothing more, the connection open. */
  readonly stallAfter?: number
  /** After so many body bytes the connection ends. */
  readonly cutAfter?: number
  /** How `cutAfter` ends it: `fin` unless given. `half`: FIN, and the other direction stays open. */
  readonly cut?: 'fin' | 'rst' | 'half'

  /** Inverts one byte of the body. */
  readonly flipByteAt?: number
  /** Shortens the body; Content-Length agrees, unless `contentLength` says otherwise. */
  readonly truncateTo?: number
  /** So many zero bytes after the body; Content-Length agrees, unless `contentLength` says otherwise. */
  readonly extraBytes?: number
  /** What Content-Length says, whatever the body; the connection closes after the body. */
  readonly contentLength?: number
  /** Chunked, without Content-Length. */
  readonly chunked?: true
  /** Neither length nor chunks: the body ends where the connection does. */
  readonly closeDelimited?: true

  /** Replaces the answer: with `body`, or with an error envelope fit for the status. */
  readonly status?: number
  readonly body?: string | Buffer
  /** Headers of the replaced answer. */
  readonly headers?: Readonly<Record<string, string>>
  /** HEAD only: this status without a body. */
  readonly headStatus?: number
  readonly setHeaders?: Readonly<Record<string, string | readonly string[]>>
  /** Lower-case names. */
  readonly omitHeaders?: readonly string[]

  /** 200 and the whole body for a range. */
  readonly ignoreRange?: true
  /** 206 with a range that begins one byte later than asked, and says so. */
  readonly wrongContentRange?: true
  /** `gzip`: compresses where Accept-Encoding allows. `gzip-always`: compresses. */
  readonly contentEncoding?: 'gzip' | 'gzip-always'
}
