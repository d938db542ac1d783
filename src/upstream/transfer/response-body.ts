import type { BodyFile } from '../upstream.ts'

/** Of a body's bytes, those that are wanted: after the first `skip`, and no more than `most`. */
export interface BodyPart {
  readonly skip: number
  readonly most: number | undefined
  /** Whether more than `most` may come, and is left; without it, it must not. */
  readonly tail?: 'none' | 'unwanted'
}

/** A body has more bytes than are wanted of it. */
export class BodyTooLong extends Error {
  override readonly name = 'BodyTooLong'
}

/** What every body of a response offers, whoever receives it. It is written into a file, closed or discarded, and only once. */
export interface ResponseBody {
  /**
   * Writes it into a file, and yields how many bytes more the file has. Ends at the body's end. Rejects with BodyTooLong,
   * what `file.refused` rejects with, or why the body failed; the bytes that came before are in the file. When it has ended,
   * or was left, nobody writes to the file any more.
   */
  into(file: BodyFile, part: BodyPart): AsyncIterable<number>
  /** No more is wanted: what has not come is cut off. */
  close(): void
  /** No more is wanted: a short rest is read behind the scenes, so that the connection can be used again. */
  discard(): void
}
