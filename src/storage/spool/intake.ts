import { ThreadDied } from '../../threads/thread.ts'
import type { Received, SupplyEnd } from './receiving.ts'
import type { Ring } from './ring.ts'

/** It is told of by so many bytes, or so many milliseconds after the last time, as soon as there are any. */
const worthTelling = 1024 * 1024
const tellWithin = 10

/** The thread that takes out of the ring what is put in. */
export interface Taker {
  readonly memory: Ring
  /** Asks to be told when it has taken so many bytes beyond those that are counted, or cannot. Rejects with ThreadDied. */
  question(until: number): { readonly answered: Promise<unknown>; readonly change: (until: number) => void }
}

/**
 * Bytes of a connection on their way into a ring, from one thread to another, while the event loop only counts them. Iterated
 * over once: yields how many bytes more have been put in, or 0 where they are not taken out, until no more come. Then `end`
 * says why.
 */
export class Intake implements AsyncIterable<number> {
  readonly #received: Received
  readonly #taker: Taker
  #end: SupplyEnd | undefined
  #isEmpty = true
  #hurry: ((until: number) => void) | undefined

  constructor(received: Received, taker: Taker) {
    this.#received = received
    this.#taker = taker
    void received.ended.then((end) => {
      this.#end = end
      this.#hurry?.(0)
    })
  }

  /** Undefined as long as more may come. */
  get end(): SupplyEnd | undefined {
    return this.#end
  }

  /** Whether it was all in vain: no more will come, and nothing did. */
  get wasVain(): boolean {
    return this.#end !== undefined && this.#isEmpty
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<number, undefined> {
    let isLost = false
    try {
      for (let isOver = false; !isOver; ) {
        isOver = this.#end !== undefined
        if (!isOver) await this.#progress()
        const bytes = this.#taker.memory.count()
        this.#isEmpty &&= bytes === 0
        yield bytes
      }
    } catch (error) {
      // What was put in and not counted is lost with it: that has to come again.
      isLost = error instanceof ThreadDied
      if (!isLost) throw error
    } finally {
      await this.stop()
      this.#taker.memory.takeBack()
    }
    // Nobody makes room any more: that is to be seen to before more comes.
    if (isLost) yield 0
  }

  /** Resolves when nobody puts anything into the ring any more. */
  async stop(): Promise<void> {
    if (this.#end === undefined) this.#received.stop()
    await this.#received.ended
  }

  async #progress(): Promise<void> {
    const { answered, change } = this.#taker.question(worthTelling)
    // Where no more will come, it was asked for what is there.
    const late = setTimeout(() => change(this.#end === undefined ? 1 : 0), tellWithin)
    this.#hurry = change
    try {
      await answered
    } finally {
      this.#hurry = undefined
      clearTimeout(late)
    }
  }
}
