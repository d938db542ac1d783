import { writeSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { type Libc, loadLibc } from './libc.ts'
import type { PollThreadData } from './poll-thread.ts'
import { Poller, type Polling, serve } from './poller.ts'
import type { Calls, ReceiveAnswer, ReceiveRequest } from './receiving.ts'
import { RingStart } from './ring-ends.ts'

/** The other side of `Receiving`: a thread that waits for its connections, and for room for what comes. */

/** How often one connection is read before the next one's turn. */
const atOnce = 8
/** Milliseconds. Silence is looked for so often; and the end of the process waits for this thread so long. */
const tick = 100

const dontWait = 0x40
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
  heardAt: number
  /** What it waits for; or it does not, and it is only others' turn; or it is over. */
  awaits: 'bytes' | 'room' | 'turn' | 'nothing'
}

class Receiver implements Polling<ReceiveRequest> {
  readonly #libc: Libc
  readonly #poller: Poller
  readonly #answer: (answer: ReceiveAnswer) => void
  readonly #inflows = new Map<number, Inflow>()

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
      heardAt,
      awaits: 'turn',
    }
    this.#inflows.set(socket, inflow)
    this.#advance(inflow)
  }

  turn(): void {
    const isHurried = [...this.#inflows.values()].some(({ awaits }) => awaits === 'turn')
    const { ready, rang } = this.#poller.wait(isHurried ? 0 : tick)
    for (const socket of ready) {
      const inflow = this.#inflows.get(socket)
      if (inflow) this.#advance(inflow)
    }
    for (const inflow of this.#inflows.values()) {
      if (inflow.awaits === 'turn' || (rang && inflow.awaits === 'room')) this.#advance(inflow)
      else this.#lookAt(inflow)
    }
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
    const bytes = this.#libc.recv(inflow.socket, room, room.length, dontWait)
    const error = bytes < 0 ? this.#libc.errno() : undefined
    if (bytes > 0) {
      pass(inflow, room.subarray(0, bytes))
      if (inflow.left === 0) this.#end(inflow, { end: 'whole' })
    } else if (bytes === 0) this.#end(inflow, { end: 'closed' })
    else if (error === errors.again && this.#poller.watch(inflow.socket, 'readable once')) inflow.awaits = 'bytes'
    else if (error !== errors.interrupted) this.#end(inflow, { end: 'failed', error })
  }

  #lookAt(inflow: Inflow): void {
    const now = performance.now()
    if (inflow.awaits === 'room') inflow.heardAt = now
    else if (now - inflow.heardAt >= inflow.stall) this.#end(inflow, { end: 'stalled' })
  }

  #end(inflow: Inflow, end: Omit<ReceiveAnswer, 'id'>): void {
    inflow.awaits = 'nothing'
    this.#inflows.delete(inflow.socket)
    this.#poller.forget(inflow.socket)
    this.#answer({ id: inflow.id, ...end })
  }
}

/** Writes them, and passes them on. */
function pass(inflow: Inflow, bytes: Uint8Array): void {
  inflow.ring.put(bytes.length, saved(inflow, bytes))
  Atomics.add(inflow.calls, 0, 1)
  Atomics.notify(inflow.calls, 0)
  inflow.position += bytes.length
  inflow.left -= bytes.length
  inflow.heardAt = performance.now()
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
