import type { Algorithm } from '../../oci/digest.ts'
import { Crew } from '../../threads/pool.ts'
import { Thread, type ThreadDied } from '../../threads/thread.ts'
import { Intake, type Taker } from './intake.ts'
import type { Calls, Receiving, Supply } from './receiving.ts'
import type { RingMemory } from './ring-memory.ts'
import { SuppliedRing } from './supplied-ring.ts'

/**
 * To the thread, of an open file, which goes by its descriptor: that it has `size` bytes by now, and what comes after them
 * will be in the ring; that it is to be tried again; that its digest is wanted; that it is not to be touched any more.
 */
export type WriteRequest = { readonly id: number; readonly file: number } & (
  | { readonly kind: 'open'; readonly algorithm: Algorithm; readonly size: number; readonly ring: RingMemory }
  | { readonly kind: 'retry' | 'digest' | 'close' }
)

/** From the thread: that it has come as far as was asked, or the digest in hex, or what went wrong, as the system says it. */
export interface WriteAnswer {
  readonly id: number
  readonly digest?: string
  readonly error?: { readonly message: string; readonly code: string | undefined } | undefined
}

/** What the thread starts with: how often it was called, and how often with a message. It waits for calls, not for those. */
export interface WriteThreadData {
  readonly calls: Int32Array<SharedArrayBuffer>
  readonly messages: Int32Array<SharedArrayBuffer>
}

/** Each time that somebody else receives in vain costs a connection: after so many it is given up. */
const mostVain = 8

/** A question's number has to fit into 32 bits with a sign. */
const mostNumbers = 2 ** 31 - 1

/** Threads that write what was received and hash it while it is at hand, so that the event loop has its hands free. */
export class Writing implements AsyncDisposable {
  readonly #threads: Crew<WriteThread>
  readonly #receiving: Receiving | undefined

  constructor(onDeath?: (error: ThreadDied) => void, receiving?: Receiving) {
    this.#receiving = receiving
    this.#threads = new Crew({ start: (died) => new WriteThread(died), onDeath })
  }

  /** A file that has `size` bytes, which are hashed too. Undefined where there is no thread for it, or not yet. */
  open(file: number, algorithm: Algorithm, size: number): WrittenFile | undefined {
    const thread = this.#threads.idlest()
    return thread && new WrittenFile({ thread, receiving: this.#receiving, file, algorithm, size })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]()
  }
}

interface WrittenFileOptions {
  readonly thread: WriteThread
  readonly receiving: Receiving | undefined
  readonly file: number
  readonly algorithm: Algorithm
  readonly size: number
}

/**
 * A file that a thread writes, and hashes on the way. One call at a time. Each promise rejects with ThreadDied, or with
 * the system's error: then nothing more is written before `retry`.
 */
export class WrittenFile {
  /** Where what is put may be received. */
  readonly memory: SuppliedRing
  readonly #thread: WriteThread
  readonly #file: number
  #intake: Intake | undefined
  /** How often in a row nothing came of it. */
  #vain = 0
  #isTroubled = false
  #end: number | undefined
  #closing: Promise<void> | undefined

  constructor({ thread, receiving, file, algorithm, size }: WrittenFileOptions) {
    this.#thread = thread
    this.#file = file
    this.memory = new SuppliedRing(size, receiving && ((supply) => this.#receive(receiving, supply)))
    thread.files += 1
    thread.tell({ kind: 'open', id: thread.nextId(), file, algorithm, size, ring: this.memory.memory })
  }

  /** Bytes that the file has by now. */
  get written(): number {
    return this.#end ?? this.memory.taken
  }

  /** Whether bytes come in by themselves. */
  get isReceiving(): boolean {
    return this.#intake !== undefined && this.#intake.end === undefined
  }

  /** Whether something went wrong with what comes in by itself. */
  get isTroubled(): boolean {
    return this.#isTroubled
  }

  /** Appends as much of it as there is room for, and tells how much. */
  put(bytes: Buffer): number {
    const put = this.memory.put(bytes)
    this.#thread.call()
    return put
  }

  /** Resolves when there is room. */
  async room(): Promise<void> {
    if (this.isTroubled || !this.memory.hasRoom) await this.#until('room')
  }

  /** Resolves when all is written. */
  async flush(): Promise<void> {
    if (this.memory.backlog > 0) await this.#until('empty')
  }

  /** Of what there was and what was written, in hex. After `flush`. */
  async digest(): Promise<string> {
    return (await this.#ask('digest')).digest ?? ''
  }

  /** What was put and is not written. */
  rest(): Buffer {
    return this.memory.rest()
  }

  /** Has what went wrong tried again: resolves when an error is a new one. */
  async retry(): Promise<void> {
    await this.#ask('retry')
    this.#isTroubled = false
  }

  /** Resolves when the thread has let go of it, and so has everybody else of its memory. The descriptor stays its owner's. */
  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  #receive(receiving: Receiving, supply: Supply): Intake | undefined {
    this.#vain = this.#intake?.wasVain ? this.#vain + 1 : 0
    if (this.#thread.state === 'dead' || this.#vain >= mostVain) return undefined
    const received = receiving.into(
      {
        ring: this.memory,
        calls: this.#thread.calls,
        file: this.#file,
        position: this.memory.taken + this.memory.backlog,
      },
      supply,
    )
    if (!received) return undefined
    this.#intake = new Intake(received, { memory: this.memory, question: (until) => this.#question(until) })
    return this.#intake
  }

  #question(until: number): ReturnType<Taker['question']> {
    const id = this.#thread.nextId()
    const change = (until: number): void => {
      this.memory.ask(id, until)
      this.#thread.call()
    }
    const answered = this.#thread.expect(id).then(({ error }) => {
      this.#isTroubled = error !== undefined
    })
    change(until)
    return { answered, change }
  }

  async #close(): Promise<void> {
    await this.#intake?.stop()
    await this.#ask('close').catch(() => undefined)
    this.#thread.files -= 1
    this.#end = this.written
    this.memory.close()
  }

  async #until(until: 'room' | 'empty'): Promise<void> {
    const id = this.#thread.nextId()
    const answer = this.#thread.expect(id)
    this.memory.ask(id, until)
    this.#thread.call()
    failIfToldSo(await answer)
  }

  async #ask(kind: 'retry' | 'digest' | 'close'): Promise<WriteAnswer> {
    return failIfToldSo(await this.#thread.ask({ kind, id: this.#thread.nextId(), file: this.#file }))
  }
}

function failIfToldSo(answer: WriteAnswer): WriteAnswer {
  const { error } = answer
  if (error) throw Object.assign(new Error(error.message), { code: error.code })
  return answer
}

class WriteThread extends Thread<WriteRequest, WriteAnswer> {
  /** Open ones. */
  files = 0
  readonly #told: WriteThreadData
  #count = 0

  constructor(onDeath: (error: ThreadDied) => void) {
    const data = { calls: counter(), messages: counter() }
    super({ name: 'write-thread', beside: import.meta.url, data, onDeath })
    this.#told = data
  }

  get calls(): Calls {
    return this.#told.calls
  }

  override get load(): number {
    return this.files
  }

  nextId(): number {
    this.#count = (this.#count % mostNumbers) + 1
    return this.#count
  }

  /** Wakes it, where it waits for more. */
  call(): void {
    Atomics.add(this.#told.calls, 0, 1)
    Atomics.notify(this.#told.calls, 0)
  }

  override tell(request: WriteRequest): void {
    super.tell(request)
    Atomics.add(this.#told.messages, 0, 1)
    this.call()
  }
}

function counter(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(4))
}
