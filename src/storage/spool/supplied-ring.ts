import type { Intake } from './intake.ts'
import type { Supply } from './receiving.ts'
import { Ring } from './ring.ts'

/** Has a thread receive from a connection. Undefined where there is none for it, or not now. */
export type Receive = (supply: Supply) => Intake | undefined

/** A ring that another thread can fill from a connection. */
export class SuppliedRing extends Ring {
  /** Hands the ring over to that thread. Undefined where no thread can ever do it. */
  readonly receive: Receive | undefined

  /** `start` as for `Ring`. */
  constructor(start: number, receive: Receive | undefined) {
    super(start)
    this.receive = receive
  }
}
