/** Bytes that are received at once, at most; and those that fit in: half of it is filled while the other half is emptied. */
const piece = 128 * 1024
const size = 2 * piece

/** What both ends see. */
export interface RingMemory {
  readonly bytes: SharedArrayBuffer
  /** How much was put in, and taken out, modulo 2³²; how much has to be taken out for the question, and its number or 0. */
  readonly marks: SharedArrayBuffer
}

const marks = { put: 0, taken: 1, until: 2, question: 3 }

/** Rings that are used again. What shared memory takes the garbage collector does not count, so it would pile up. */
const kept: RingMemory[] = []
const mostKept = 32

/**
 * Bytes on their way to a thread, in order and in constant memory: this end puts them in, `RingEnd` takes them out. They can
 * be received right where they will be put: `room` lends that place, `keep` says that they are there, `put` passes them on.
 */
export class Ring {
  readonly memory: RingMemory
  readonly #bytes: Buffer
  readonly #marks: Int32Array
  #put = 0
  /** What was put, and what is there to be put. */
  #received = 0
  /** Whether somebody may be receiving behind that. */
  #isLent = false
  /** Bytes that were kept elsewhere, since there was no room, and come before all others. */
  #elsewhere = 0

  constructor() {
    this.memory = kept.pop() ?? { bytes: new SharedArrayBuffer(size), marks: new SharedArrayBuffer(16) }
    this.#bytes = Buffer.from(this.memory.bytes)
    this.#marks = new Int32Array(this.memory.marks).fill(0)
  }

  /** Bytes that were put in and not taken out. */
  get backlog(): number {
    return (this.#put - Atomics.load(this.#marks, marks.taken)) >>> 0
  }

  /** Bytes that were taken out. */
  get taken(): number {
    return this.#put - this.backlog
  }

  /** Whether the room that is lent can be used; no more is to come before what had to be kept elsewhere is put. */
  get hasRoom(): boolean {
    return this.#elsewhere === 0 && this.#free >= this.#rest
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
    const at = this.#received % size
    return this.#bytes.subarray(at, at + this.#rest)
  }

  /** Keeps bytes until they are put: where they were received, or else a copy. */
  keep(bytes: Buffer): Buffer {
    const at = this.#received % size
    if (this.#isAt(bytes, at)) {
      this.#isLent = false
      this.#received += bytes.length
      return bytes
    }
    if (this.#elsewhere > 0 || this.#free < bytes.length || at + bytes.length > size) {
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
    if (!this.#isAt(bytes, this.#put % size)) return this.#copyIn(bytes)
    this.#advance(bytes.length)
    return bytes.length
  }

  /** All that was put in is taken care of by somebody else. */
  drain(): void {
    Atomics.store(this.#marks, marks.taken, this.#put | 0)
  }

  /** So are these, which come next. */
  skip(bytes: Buffer): void {
    if (this.#isAt(bytes, this.#put % size)) this.#advance(bytes.length)
    else this.#elsewhere = Math.max(0, this.#elsewhere - bytes.length)
    this.drain()
  }

  /** A copy of what was put in and not taken out. */
  rest(): Buffer {
    const { taken, backlog } = this
    const at = taken % size
    const first = this.#bytes.subarray(at, Math.min(at + backlog, size))
    return Buffer.concat([first, this.#bytes.subarray(0, backlog - first.length)])
  }

  /** Asks to be told, by this number, when there is room, or all is taken out. One question at a time. */
  ask(question: number, until: 'room' | 'empty'): void {
    const taken = until === 'empty' ? this.#put : this.#received + this.#rest - size
    Atomics.store(this.#marks, marks.until, taken | 0)
    Atomics.store(this.#marks, marks.question, question)
  }

  /** Lets go of the memory: nobody touches it any more. */
  close(): void {
    if (kept.length < mostKept) kept.push(this.memory)
  }

  get #free(): number {
    return size - (this.#received - this.taken)
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
      const at = this.#put % size
      const length = Math.min(bytes.length - copied, this.#free, size - at)
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

/** The end of a ring where bytes are taken out. */
export class RingEnd {
  readonly #bytes: Uint8Array
  readonly #marks: Int32Array
  #taken = 0

  constructor({ bytes, marks }: RingMemory) {
    this.#bytes = new Uint8Array(bytes)
    this.#marks = new Int32Array(marks)
  }

  /** The next bytes, at most so many; none where there are none. Theirs until `take`. */
  next(most: number): Uint8Array {
    const there = (Atomics.load(this.#marks, marks.put) - this.#taken) >>> 0
    const at = this.#taken % size
    return this.#bytes.subarray(at, at + Math.min(there, most, size - at))
  }

  take(bytes: number): void {
    this.#taken += bytes
    Atomics.store(this.#marks, marks.taken, this.#taken | 0)
  }

  /** The number of the question that can be answered by now, once; or of any, where it has to be. 0 where there is none. */
  question(any: boolean): number {
    const question = Atomics.load(this.#marks, marks.question)
    const isDue = any || ((this.#taken - Atomics.load(this.#marks, marks.until)) | 0) >= 0
    if (question === 0 || !isDue) return 0
    Atomics.store(this.#marks, marks.question, 0)
    return question
  }
}
