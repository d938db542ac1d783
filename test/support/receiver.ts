import type { Received, Receiving, Supply } from '../../src/storage/spool/receiving.ts'
import { Ring } from '../../src/storage/spool/ring.ts'
import { RingEnd } from '../../src/storage/spool/ring-ends.ts'
import { ring } from '../../src/threads/bell.ts'
import { unreadPair } from './socket-pair.ts'
import { until } from './wait.ts'

/** A ring into which a thread receives, and at its other end one who takes out as much as he is told to. */
export class Receiver {
  readonly ring: Ring
  readonly size: number
  readonly calls = new Int32Array(new SharedArrayBuffer(4))
  /** Bytes of those taken out that were said to be in the file. */
  saved = 0
  readonly #end: RingEnd

  /** For what comes after the first `start` bytes of a file. */
  constructor(start = 0) {
    this.ring = new Ring(start)
    this.size = this.ring.memory.bytes.byteLength
    this.#end = new RingEnd(this.ring.memory)
  }

  /** Undefined where there is no thread. */
  receive(receiving: Receiving, file: number, supply: Supply): Received | undefined {
    const position = this.ring.taken + this.ring.backlog
    return receiving.into({ ring: this.ring, calls: this.calls, file, position }, supply)
  }

  /** Bytes that are in the ring. */
  get there(): number {
    return this.ring.uncounted + this.ring.backlog
  }

  /** Takes out what there is, at most so much. */
  take(most = Number.POSITIVE_INFINITY): Buffer {
    const chunks: Buffer[] = []
    this.ring.count()
    for (let left = most; left > 0; ) {
      const bytes = this.#end.next().subarray(0, left)
      if (bytes.length === 0) break
      chunks.push(Buffer.from(bytes))
      if (this.#end.areSaved) this.saved += bytes.length
      const bell = this.#end.take(bytes.length)
      if (bell !== undefined) ring(bell)
      left -= bytes.length
    }
    // What came meanwhile was taken out, too.
    this.ring.count()
    return Buffer.concat(chunks)
  }

  /** Takes out so many, as they come. */
  async takeAll(length: number): Promise<Buffer> {
    const chunks: Buffer[] = []
    for (let left = length; left > 0; ) {
      const bytes = await until(() => (this.there > 0 ? this.take(left) : undefined), `${left} bytes more`)
      chunks.push(bytes)
      left -= bytes.length
    }
    return Buffer.concat(chunks)
  }
}

/** Waits until a thread receives. */
export async function untilReceiving(receiving: Receiving): Promise<void> {
  await using pair = await unreadPair()
  const receiver = new Receiver()
  const supply = { socket: pair.fd, length: 1, stall: 60_000 }
  // No file: it is left to be written.
  const { ended } = await until(() => receiver.receive(receiving, -1, supply), 'a thread that receives')
  await pair.theirs.write(Buffer.from('x'))
  await ended
  receiver.ring.close()
}
