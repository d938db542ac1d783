import { giveBackMemory, marks, piece, type RingMemory, takeMemory } from './ring-memory.ts'

/**
 * Bytes on their way to a thread, in order and in constant memory: this end puts them in, `RingEnd` takes them out. They can
 * be received right where they will be put: `room` lends that place, `keep` says that they are there, `put` passes them on.
 * Or another thread puts them in, by a `RingStart`: from `handOver` on, until it is through, this end only counts them.
 */
export class Ring {
  readonly memory: RingMemory
  readonly #size: number
  readonly #bytes: Buffer
  readonly #marks: Int32Array
  #put = 0
  /** What was put, and what is there to be put. */
  #received = 0
  /** Whether somebody may be receiving behind that. */
  #isLent = false
  /** Bytes that were kept elsewhere, since there was no room, and come before all others. */
  #elsewhere = 0

  /** For what comes after the first `start` bytes, from which on it is counted. */
  constructor(start = 0) {
    this.memory = takeMemory()
    this.#size = this.memory.bytes.byteLength
    this.#bytes = Buffer.from(this.memory.bytes)
    this.#marks = new Int32Array(this.memory.marks).fill(0)
    this.#put = start
    this.#received = start
    for (const mark of [marks.put, marks.taken, marks.savedFrom, marks.savedTo]) this.#marks[mark] = start
  }

  /** Bytes that were put in, as far as they are counted, and not taken out. */
  get backlog(): number {
    return Math.max(0, (this.#put - Atomics.load(this.#marks, marks.taken)) | 0)
  }

  /** Bytes that were taken out, and those before the start. */
  get taken(): number {
    return this.#put - this.backlog
  }

  /** Whether the room that is lent can be used; no more is to come before what had to be kept elsewhere is put. */
  get hasRoom(): boolean {
    return this.#elsewhere === 0 && this.#free >= this.#rest
  }

  /** Leaves it to another thread to put bytes in. `bell` is the descriptor it waits for while there is no room. */
  handOver(bell: number): void {
    if (this.#received !== this.#put || this.#elsewhere > 0) throw new Error('bytes out of their order')
    Atomics.store(this.#marks, marks.awaited, 0)
    Atomics.store(this.#marks, marks.bell, bell)
    // In this order: there is no moment in which any is saved.
    Atomics.store(this.#marks, marks.savedFrom, this.#put | 0)
    Atomics.store(this.#marks, marks.savedTo, this.#put | 0)
  }

  /** Nobody else puts anything in any more, and all is counted, or lost. */
  takeBack(): void {
    // What nobody has taken out yet is written once more.
    Atomics.store(this.#marks, marks.savedFrom, Atomics.load(this.#marks, marks.savedTo))
  }

  /** Bytes that another thread has put in, and that are not counted yet. */
  get uncounted(): number {
    return (Atomics.load(this.#marks, marks.put) - this.#put) | 0
  }

  /** Counts them, and tells how many they were. */
  count(): number {
    const bytes = this.uncounted
    this.#put += bytes
    this.#received = this.#put
    this.#isLent = false
    return bytes
  }

  /** What was lent or kept, and not put, is forgotten: it comes from another source now. */
  restart(): void {
    this.#received = this.#put
    this.#isLent = false
    this.#elsewhere = 0
  }

  /** Where to receive, as soon as `hasRoom`. Lent until it is kept, or `restart`. */
  room(): Buffer | undefined {
    if (this.#elsewhere > 0) return undefined
    this.#isLent = true
    const at = this.#received % this.#size
    return this.#bytes.subarray(at, at + this.#rest)
  }

  /** Keeps bytes until they are put: where they were received, or else a copy. */
  keep(bytes: Buffer): Buffer {
    const at = this.#received % this.#size
    if (this.#isAt(bytes, at)) {
      this.#isLent = false
      this.#received += bytes.length
      return bytes
    }
    if (this.#elsewhere > 0 || this.#free < bytes.length || at + bytes.length > this.#size) {
      this.#elsewhere += bytes.length
      return Buffer.from(bytes)
    }
    this.#refuseLent()
    this.#received += bytes.length
    const copy = this.#bytes.subarray(at, at + bytes.length)
    bytes.copy(copy)
    return copy
  }

  /** Passes bytes on, kept ones in their order: as many as there is room for, which is told. */
  put(bytes: Buffer): number {
    if (!this.#isAt(bytes, this.#put % this.#size)) return this.#copyIn(bytes)
    this.#advance(bytes.length)
    return bytes.length
  }

  /** All that was put in is taken care of by somebody else. */
  drain(): void {
    Atomics.store(this.#marks, marks.taken, this.#put | 0)
  }

  /** So are these, which come next. */
  skip(bytes: Buffer): void {
    if (this.#isAt(bytes, this.#put % this.#size)) this.#advance(bytes.length)
    else this.#elsewhere = Math.max(0, this.#elsewhere - bytes.length)
    this.drain()
  }

  /** A copy of what was put in and not taken out. */
  rest(): Buffer {
    const { taken, backlog } = this
    const at = taken % this.#size
    const first = this.#bytes.subarray(at, Math.min(at + backlog, this.#size))
    return Buffer.concat([first, this.#bytes.subarray(0, backlog - first.length)])
  }

  /**
   * Asks to be told, by this number, when half of it is free, or all is taken out, or so many bytes beyond what is counted. One
   * question at a time; the same may be asked again, for less.
   */
  ask(question: number, until: 'room' | 'empty' | number): void {
    const taken =
      until === 'room'
        ? Math.min(this.#put, this.#received - this.#size / 2)
        : this.#put + (until === 'empty' ? 0 : until)
    Atomics.store(this.#marks, marks.until, taken | 0)
    Atomics.store(this.#marks, marks.question, question)
  }

  /** Lets go of the memory: nobody touches it any more. */
  close(): void {
    giveBackMemory(this.memory)
  }

  get #free(): number {
    return this.#size - (this.#received - this.taken)
  }

  /** Bytes to the end of the piece that is received into next. */
  get #rest(): number {
    return piece - (this.#received % piece)
  }

  #isAt(bytes: Buffer, at: number): boolean {
    return bytes.buffer === this.memory.bytes && bytes.byteOffset === at
  }

  #copyIn(bytes: Buffer): number {
    this.#refuseLent()
    if (this.#received !== this.#put) throw new Error('bytes out of their order')
    let copied = 0
    for (let turn = 0; turn < 2; turn += 1) {
      const at = this.#put % this.#size
      const length = Math.min(bytes.length - copied, this.#free, this.#size - at)
      bytes.copy(this.#bytes, at, copied, copied + length)
      this.#received += length
      this.#advance(length)
      copied += length
    }
    this.#elsewhere = Math.max(0, this.#elsewhere - copied)
    return copied
  }

  #advance(bytes: number): void {
    this.#put += bytes
    Atomics.store(this.#marks, marks.put, this.#put | 0)
  }

  /** What is received there would come over it. */
  #refuseLent(): void {
    if (this.#isLent) throw new Error('the memory is lent')
  }
}
