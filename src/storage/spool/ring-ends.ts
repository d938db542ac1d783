import { marks, piece, type RingMemory } from './ring-memory.ts'

/** The start of a ring that was handed over. */
export class RingStart {
  readonly #size: number
  readonly #bytes: Uint8Array
  readonly #marks: Int32Array
  #put: number
  #passed = 0

  constructor({ bytes, marks: shared }: RingMemory) {
    this.#size = bytes.byteLength
    this.#bytes = new Uint8Array(bytes)
    this.#marks = new Int32Array(shared)
    this.#put = Atomics.load(this.#marks, marks.put) >>> 0
  }

  /** Where the next bytes go, to the end of the piece, at most so many; undefined where it has no room: then the bell will ring. */
  room(most: number): Uint8Array | undefined {
    if (this.#backlog > this.#size - piece) {
      Atomics.store(this.#marks, marks.awaited, 1)
      // It may have come just now.
      if (this.#backlog > this.#size / 2) return undefined
    }
    const at = this.#put % this.#size
    return this.#bytes.subarray(at, at + Math.min(most, piece - (at % piece)))
  }

  /** Puts in what is there, of which so much is in the file already: all of it, until once it is less, and then nothing. */
  put(bytes: number, saved: number): void {
    if (saved > 0) Atomics.store(this.#marks, marks.savedTo, (this.#put + saved) | 0)
    this.#put = (this.#put + bytes) >>> 0
    this.#passed += bytes
    if (this.#passed > this.#size) this.#forget((this.#put - this.#size) | 0)
    Atomics.store(this.#marks, marks.put, this.#put | 0)
  }

  /** What lies further back was taken out long ago; and as it is counted modulo 2³², it would come round again. */
  #forget(oldest: number): void {
    const isBehind = ((Atomics.load(this.#marks, marks.savedTo) - oldest) | 0) < 0
    // In this order: there is no moment in which more is saved.
    Atomics.store(this.#marks, marks.savedFrom, oldest)
    if (isBehind) Atomics.store(this.#marks, marks.savedTo, oldest)
  }

  get #backlog(): number {
    return (this.#put - Atomics.load(this.#marks, marks.taken)) >>> 0
  }
}

/** The end of a ring where bytes are taken out. */
export class RingEnd {
  readonly #size: number
  readonly #bytes: Uint8Array
  readonly #marks: Int32Array
  #taken: number

  constructor({ bytes, marks: shared }: RingMemory) {
    this.#size = bytes.byteLength
    this.#bytes = new Uint8Array(bytes)
    this.#marks = new Int32Array(shared)
    this.#taken = Atomics.load(this.#marks, marks.taken) >>> 0
  }

  /** The next bytes, to the end of the piece, and all of them saved or none; none where there are none. Theirs until `take`. */
  next(): Uint8Array {
    // In this order: who puts bytes in says first that they are saved.
    const there = (Atomics.load(this.#marks, marks.put) - this.#taken) >>> 0
    const alike = this.#saved || this.#unsaved || this.#size
    const at = this.#taken % this.#size
    return this.#bytes.subarray(at, at + Math.min(there, alike, piece - (at % piece)))
  }

  /** Whether the next bytes are in the file already. */
  get areSaved(): boolean {
    return this.#saved > 0
  }

  /** Returns the bell that has to be rung: somebody waits for this room. */
  take(bytes: number): number | undefined {
    this.#taken += bytes
    Atomics.store(this.#marks, marks.taken, this.#taken | 0)
    const backlog = (Atomics.load(this.#marks, marks.put) - this.#taken) >>> 0
    const isDue = backlog <= this.#size / 2 && Atomics.exchange(this.#marks, marks.awaited, 0) === 1
    return isDue ? Atomics.load(this.#marks, marks.bell) : undefined
  }

  /** Whether it is no use to wait for more than so many next bytes: a piece ends there, or what is saved begins, or a question is answered. */
  isRound(bytes: number): boolean {
    const end = this.#taken + bytes
    return (
      end % piece === 0 ||
      bytes === this.#unsaved ||
      (this.#isAsked && ((end - Atomics.load(this.#marks, marks.until)) | 0) >= 0)
    )
  }

  /** The number of the question that can be answered by now, once; or of any, where it has to be. 0 where there is none. */
  question(any: boolean): number {
    const question = Atomics.load(this.#marks, marks.question)
    const isDue = any || ((this.#taken - Atomics.load(this.#marks, marks.until)) | 0) >= 0
    // Another one may have been asked just now.
    const isTheSame = isDue && Atomics.compareExchange(this.#marks, marks.question, question, 0) === question
    return isTheSame ? question : 0
  }

  get #isAsked(): boolean {
    return Atomics.load(this.#marks, marks.question) !== 0
  }

  /** Bytes before those that are saved. */
  get #unsaved(): number {
    return Math.max(0, (Atomics.load(this.#marks, marks.savedFrom) - this.#taken) | 0)
  }

  get #saved(): number {
    return this.#unsaved > 0 ? 0 : Math.max(0, (Atomics.load(this.#marks, marks.savedTo) - this.#taken) | 0)
  }
}
