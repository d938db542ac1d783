/** Smaller ones are not worth it, and may share their memory. */
const worthReleasing = 4 * 1024

/**
 * Gives a chunk's memory back, now that nobody reads it any more. Each read of a connection makes a new ArrayBuffer, and
 * where these are left to the garbage collector, it runs in full every 20 MB of a body.
 *
 * Only where the chunk is all of its memory: otherwise a part of it may be somebody else's.
 */
export function releaseChunk(chunk: Buffer): void {
  const { buffer, length } = chunk
  if (length < worthReleasing || length !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return
  buffer.transfer(0)
}
