import { Hashing } from './hashing.ts'
import { Sendfile } from './sendfile.ts'

/** What is done to files off the event loop. */
export class Offload implements AsyncDisposable {
  readonly hashing = new Hashing()
  /** Undefined where the system has it not. */
  readonly sendfile = Sendfile.load()

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hashing[Symbol.asyncDispose]()
  }
}
