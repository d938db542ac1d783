/**
 * Bytes that are received and written at once, at most. What lies in one such piece of a file is best written by one call: then
 * the kernel can keep it as one, where the file system lets it, and it is sent from there at less cost than page by page.
 */
export const piece = 128 * 1024
/** Milliseconds that one waits for the rest of a piece. */
export const patience = 10

/** What both ends of a ring see. */
export interface RingMemory {
  readonly bytes: SharedArrayBuffer
  /**
   * How much was put in, and taken out, modulo 2³²; how much has to be taken out for the question, and its number or 0;
   * the bell of whoever else puts in, and whether it is to be rung when half is free; from where to where, counted as they
   * were put in, bytes are in the file already.
   */
  readonly marks: SharedArrayBuffer
}

export const marks = { put: 0, taken: 1, until: 2, question: 3, bell: 4, awaited: 5, savedFrom: 6, savedTo: 7 }

/**
 * Memories that are used again: what shared memory takes the garbage collector does not count, so it would pile up. Threads
 * that take turns on few processors keep each other waiting where less fits in than is hashed in one turn, which may be
 * three milliseconds; so the first of them are large.
 */
const large = { size: 16 * piece, kept: [] as RingMemory[] }
const mostLarge = 4
const small = { size: 2 * piece, kept: [] as RingMemory[] }
const mostKept = 16
let largeOnes = 0

export function takeMemory(): RingMemory {
  const kept = large.kept.pop()
  if (kept) return kept
  if (largeOnes === mostLarge) return small.kept.pop() ?? memoryOf(small.size)
  largeOnes += 1
  return memoryOf(large.size)
}

/** Nobody touches it any more. */
export function giveBackMemory(memory: RingMemory): void {
  if (memory.bytes.byteLength === large.size) large.kept.push(memory)
  else if (small.kept.length < mostKept) small.kept.push(memory)
}

function memoryOf(size: number): RingMemory {
  return { bytes: new SharedArrayBuffer(size), marks: new SharedArrayBuffer(32) }
}
