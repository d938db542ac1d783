import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { type Libc, loadLibc } from '../../threads/libc.ts'
import type { PollThreadData } from '../../threads/poll-thread.ts'
import { Poller, type Polling, serve } from '../../threads/poller.ts'
import type { Calls, ReceiveAnswer, ReceiveRequest } from './receiving.ts'
import { RingStart } from './ring-ends.ts'
import { patience } from './ring-memory.ts'

/** The other side of `Receiving`: a thread that waits for its connections, and for room for what comes. */

/** How often one connection is read before the next one's turn. */
const atOnce = 8
/** Milliseconds. Silence is looked for so often; and the end of the process waits for this thread so long. */
const tick = 100

const dontWait = 0x40
/** So few bytes are nothing to wake up for. */
const lowWater = { level: 1, option: 18 }
const errors = { interrupted: 4, again: 11 }

interface Inflow {
  readonly id: number
  readonly socket: number
  readonly ring: RingStart
  readonly calls: Calls
  readonly stall: number
  /** Undefined where what comes is left to be written. */
  file: number | undefined
  position: number
  left: number
  /** Bytes received, and not passed on: they are less than a piece. */
  kept: number
  /** Since when it has waited for the rest of a piece; undefined where any byte will do. */
  waitsSince: number | undefined
  heardAt: number
  /** What it waits for; or it does not, and it is only others' turn; or it is over. */
  awaits: 'bytes' | 'room' | 'turn' | 'nothing'
}

class Receiver implements Polling<ReceiveRequest> {
  readonly #libc: Libc
  readonly #poller: Poller
  readonly #answer: (answer: ReceiveAnswer) => void
  readonly #inflows = new Map<number, Inflow>()
  readonly #value = Buffer.alloc(4)

  constructor(libc: Libc, given: PollThreadData, answer: (answer: ReceiveAnswer) => void) {
    this.#libc = libc
    this.#answer = answer
    this.#poller = new Poller(libc, given)
  }

  get isBusy(): boolean {
    return this.#inflows.size > 0
  }

  take(request: ReceiveRequest): void {
    const { id, socket } = request
    if (request.kind === 'stop') {
      const inflow = this.#inflows.get(socket)
      if (inflow?.id === id) this.#end(inflow, { end: 'stopped' })
      return
    }
    const { file, position, ring, calls, length, stall } = request
    const heardAt = performance.now()
    const inflow: Inflow = {
      id,
      socket,
      ring: new RingStart(ring),
      calls,
      stall,
      file,
      position,
      left: length,
      kept: 0,
      waitsSince: undefined,
      heardAt,
      awaits: 'turn',
    }
    this.#inflows.set(socket, inflow)
    this.#advance(inflow)
  }

  turn(): void {
    const { ready, rang } = this.#poller.wait(this.#idle())
    for (const socket of ready) {
      const inflow = this.#inflows.get(socket)
      if (inflow) this.#advance(inflow)
    }
    for (const inflow of this.#inflows.values()) {
      if (inflow.awaits === 'turn' || (rang && inflow.awaits === 'room')) this.#advance(inflow)
      else this.#lookAt(inflow)
    }
  }

  /** Milliseconds until there is something to do, though nothing come. */
  #idle(): number {
    const now = performance.now()
    let idle = tick
    for (const { awaits, waitsSince } of this.#inflows.values()) {
      if (awaits === 'turn') return 0
      if (waitsSince !== undefined) idle = Math.min(idle, Math.max(1, Math.ceil(waitsSince + patience - now)))
    }
    return idle
  }

  #advance(inflow: Inflow): void {
    inflow.awaits = 'turn'
    for (let times = 0; times < atOnce && inflow.awaits === 'turn'; times += 1) {
      const room = inflow.ring.room(inflow.left)
      if (room) this.#receive(inflow, room)
      else inflow.awaits = 'room'
    }
  }

  #receive(inflow: Inflow, room: Uint8Array): void {
    const rest = room.subarray(inflow.kept)
    const bytes = this.#libc.recv(inflow.socket, rest, rest.length, dontWait)
    const error = bytes < 0 ? this.#libc.errno() : undefined
    if (bytes > 0) {
      keep(inflow, bytes)
      if (bytes === rest.length) pass(inflow)
      if (inflow.left === 0) this.#end(inflow, { end: 'whole' })
    } else if (bytes === 0) this.#end(inflow, { end: 'closed' })
    else if (error === errors.again && this.#wait(inflow, rest.length)) inflow.awaits = 'bytes'
    else if (error !== errors.interrupted) this.#end(inflow, { end: 'failed', error })
  }

  /** For the rest of a piece; or where that is late, for any byte, after passing on what there is. False where it cannot. */
  #wait(inflow: Inflow, rest: number): boolean {
    const isLate = hasWaited(inflow)
    if (isLate && inflow.kept > 0) pass(inflow)
    inflow.waitsSince = isLate ? undefined : (inflow.waitsSince ?? performance.now())
    this.#value.writeInt32LE(isLate ? 1 : rest)
    // Where it is refused, it wakes up more often.
    this.#libc.setsockopt(inflow.socket, lowWater.level, lowWater.option, this.#value, 4)
    return this.#poller.watch(inflow.socket, 'readable once')
  }

  #lookAt(inflow: Inflow): void {
    const now = performance.now()
    if (inflow.awaits === 'room') inflow.heardAt = now
    else if (hasWaited(inflow)) this.#advance(inflow)
    else if (now - inflow.heardAt >= inflow.stall) this.#end(inflow, { end: 'stalled' })
  }

  #end(inflow: Inflow, end: Omit<ReceiveAnswer, 'id'>): void {
    if (inflow.kept > 0) pass(inflow)
    inflow.awaits = 'nothing'
    this.#inflows.delete(inflow.socket)
    this.#poller.forget(inflow.socket)
    this.#answer({ id: inflow.id, ...end })
  }
}

/** They are where they belong. */
function keep(inflow: Inflow, bytes: number): void {
  inflow.heardAt = performance.now()
  inflow.kept += bytes
}

function hasWaited({ waitsSince }: Inflow): boolean {
  return waitsSince !== undefined && performance.now() - waitsSince >= patience
}

/** Writes what was kept, and passes it on. */
function pass(inflow: Inflow): void {
  const bytes = inflow.ring.room(inflow.kept)
  if (!bytes) throw new Error('the room has gone')
  inflow.ring.put(bytes.length, saved(inflow, bytes))
  Atomics.add(inflow.calls, 0, 1)
  Atomics.notify(inflow.calls, 0)
  inflow.position += bytes.length
  inflow.left -= bytes.length
  inflow.kept = 0
  inflow.waitsSince = undefined
}

/** How many of them it could write. From the first trouble on all is left to who knows how to get over it. */
function saved(inflow: Inflow, bytes: Uint8Array): number {
  const { file, position } = inflow
  try {
    const written = file === undefined ? 0 : writeSync(file, bytes, 0, bytes.length, position)
    if (written < bytes.length) inflow.file = undefined
    return written
  } catch {
    inflow.file = undefined
    return 0
  }
}

if (parentPort) {
  const port = parentPort
  const libc = loadLibc()
  if (!libc) throw new Error('koffi has gone')
  serve(port, new Receiver(libc, workerData, (answer) => port.postMessage(answer)))
}
