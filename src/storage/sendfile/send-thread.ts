import { parentPort, workerData } from 'node:worker_threads'
import { type Libc, loadLibc, type Vector } from '../../threads/libc.ts'
import { Poller, type Polling, serve } from '../../threads/poller.ts'
import type { SendAnswer, SendRequest, SendThreadData } from './sendfile-pool.ts'

/** The other side of `Sending`: a thread that waits for its connections, and for nothing else. */

/** What one connection is given before the next one's turn, in bytes. */
const span = 2 * 1024 * 1024
/** Milliseconds. What is idle is looked for so often; and the end of the process waits for this thread so long. */
const tick = 100

const readWithoutWaiting = 8
const errors = { interrupted: 4, again: 11, unsupported: 95 }

interface Move {
  readonly id: number
  readonly socket: number
  readonly file: number
  readonly start: number
  readonly end: number
  readonly startedAt: number
  position: number
  movedAt: number
}

class Sender implements Polling<SendRequest> {
  readonly #libc: Libc
  readonly #given: SendThreadData
  readonly #answer: (answer: SendAnswer) => void
  readonly #moves = new Map<number, Move>()
  readonly #poller: Poller
  readonly #offset = new Uint32Array(2)
  readonly #oneByte: Vector
  #lookedAt = 0

  constructor(libc: Libc, given: SendThreadData, answer: (answer: SendAnswer) => void) {
    this.#libc = libc
    this.#given = given
    this.#answer = answer
    this.#poller = new Poller(libc, given)
    this.#oneByte = libc.vector(1)
  }

  get isBusy(): boolean {
    return this.#moves.size > 0
  }

  take(request: SendRequest): void {
    const { id, socket } = request
    if (request.kind === 'stop') {
      const move = this.#moves.get(socket)
      if (move?.id === id) this.#giveBack(move)
      return
    }
    const { file, position, length } = request
    const now = performance.now()
    const move = { id, socket, file, start: position, end: position + length, startedAt: now, position, movedAt: now }
    const absent = !this.#inMemory(file, position)
    if (absent || !this.#poller.watch(socket)) {
      this.#answer({ id, bytes: 0, full: true, absent })
      return
    }
    this.#moves.set(socket, move)
    // Also a connection that is too full to be told of takes something.
    this.#advance(move)
  }

  /** Waits until a connection takes something, or the bell rings, and gives to all that do. */
  turn(): void {
    for (const socket of this.#poller.wait(tick)) {
      const move = this.#moves.get(socket)
      if (move) this.#advance(move)
    }
    this.#lookAtAll()
  }

  /** If the connection takes more, that is told again. */
  #advance(move: Move): void {
    const wanted = Math.min(span, move.end - move.position)
    const absent = !this.#inMemory(move.file, move.position + wanted - 1)
    const bytes = absent ? 0 : this.#send(move, wanted)
    const error = bytes < 0 ? this.#libc.errno() : undefined
    if (error === errors.again || error === errors.interrupted) return
    move.position += Math.max(bytes, 0)
    if (bytes <= 0 || move.position === move.end) this.#giveBack(move, { full: bytes <= 0, absent })
    else move.movedAt = performance.now()
  }

  /** The bytes moved; 0 where the file has no more, negative where that failed. */
  #send({ socket, file, position }: Move, bytes: number): number {
    this.#offset[0] = position % 2 ** 32
    this.#offset[1] = Math.floor(position / 2 ** 32)
    return this.#libc.sendfile(socket, file, this.#offset, bytes)
  }

  /** Whether reading there would not wait for the disk. What lies before, after the last that was asked for, is there too. */
  #inMemory(file: number, position: number): boolean {
    const bytes = this.#libc.preadv(file, this.#oneByte.address, 1, position, readWithoutWaiting)
    // Some file systems cannot tell, such as overlayfs; and tmpfs, which has it there.
    return bytes === 1 || (bytes < 0 && this.#libc.errno() === errors.unsupported)
  }

  #lookAtAll(): void {
    const now = performance.now()
    if (now - this.#lookedAt < tick) return
    this.#lookedAt = now
    const { idle, busy } = this.#given
    for (const move of this.#moves.values()) {
      const full = now - move.movedAt >= idle
      if (full || now - move.startedAt >= busy) this.#giveBack(move, { full })
    }
  }

  #giveBack(move: Move, { full = true, absent = false } = {}): void {
    this.#moves.delete(move.socket)
    this.#poller.forget(move.socket)
    this.#answer({ id: move.id, bytes: move.position - move.start, full, absent })
  }
}

if (parentPort) {
  const port = parentPort
  const libc = loadLibc()
  if (!libc) throw new Error('koffi has gone')
  serve(port, new Sender(libc, workerData, (answer) => port.postMessage(answer)))
}
