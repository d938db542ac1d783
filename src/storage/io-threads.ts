import type { ThreadDied } from '../threads/thread.ts'
import { AtHand } from './at-hand.ts'
import { Sending } from './sendfile/sendfile-pool.ts'
import { Receiving } from './spool/receiving.ts'
import { Writing } from './spool/writing.ts'

/** What is done to files off the event loop. */
export class Offload implements AsyncDisposable {
  readonly writing: Writing
  /** Undefined where the system has it not. */
  readonly sending: Sending | undefined
  /** What needs nobody else, after all. Undefined where the system has it not. */
  readonly atHand: AtHand | undefined
  readonly #receiving: Receiving | undefined

  /** A thread that dies is missed by nobody: others do its work, or the event loop does. */
  constructor(onDeath?: (error: ThreadDied) => void) {
    this.#receiving = Receiving.load(onDeath)
    this.writing = new Writing(onDeath, this.#receiving)
    this.sending = Sending.load({ onDeath })
    this.atHand = AtHand.load()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // In this order: who writes rings the bells of those who receive.
    await this.writing[Symbol.asyncDispose]()
    await this.#receiving?.[Symbol.asyncDispose]()
    await this.sending?.[Symbol.asyncDispose]()
  }
}
