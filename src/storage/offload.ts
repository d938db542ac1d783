import { Sending } from './sending.ts'
import type { ThreadDied } from './thread.ts'
import { Writing } from './writing.ts'

/** What is done to files off the event loop. */
export class Offload implements AsyncDisposable {
  readonly writing: Writing
  /** Undefined where the system has it not. */
  readonly sending: Sending | undefined

  /** A thread that dies is missed by nobody: others do its work, or the event loop does. */
  constructor(onDeath?: (error: ThreadDied) => void) {
    this.writing = new Writing(onDeath)
    this.sending = Sending.load({ onDeath })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.writing[Symbol.asyncDispose]()
    await this.sending?.[Symbol.asyncDispose]()
  }
}
