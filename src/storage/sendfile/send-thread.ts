import { flushCompileCache } from 'node:module'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Libc, loadLibc, type Vector } from '../../threads/libc.ts'
import { Poller } from './poller.ts'
import type { SendAnswer, SendRequest, SendThreadData } from './sendfile-pool.ts'

/**
 * The thread behind `SendfilePool`. It waits for its connections, and for nothing else.
 *
 *     a move is    until
 *     waiting      the socket takes bytes → moving; a time-out or `stop` → answered
 *     moving       bytes were sent and more are left → waiting; all were sent, the file has no more, the call failed, or
 *                  the next bytes are not in memory → answered
 *     answered     the thread no longer watches the socket, and the pool closes its descriptor
 */

/** Bytes that one connection gets before it is the next one's turn. */
const span = 2 * 1024 * 1024
/** Milliseconds. Time-outs are checked so often, and the end of the process waits at most so long for this thread. */
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

class Sender {
  readonly #libc: Libc
  readonly #given: SendThreadData
  readonly #answer: (answer: SendAnswer) => void
  readonly #moves = new Map<number, Move>()
  readonly #poller: Poller
  readonly #offset = new Uint32Array(2)
  readonly #oneByte: Vector
  #checkedAt = 0

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
      if (move?.id === id) this.#finish(move)
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
    // At once: epoll does not report a connection that is nearly full, although it still takes something.
    this.#advance(move)
  }

  /** Waits until a connection takes bytes, or the bell rings, and sends to all that do. */
  turn(): void {
    for (const socket of this.#poller.wait(tick)) {
      const move = this.#moves.get(socket)
      if (move) this.#advance(move)
    }
    this.#checkTimeouts()
  }

  /** Sends once. If the connection takes more, epoll reports it again. */
  #advance(move: Move): void {
    const wanted = Math.min(span, move.end - move.position)
    const absent = !this.#inMemory(move.file, move.position + wanted - 1)
    const bytes = absent ? 0 : this.#send(move, wanted)
    const error = bytes < 0 ? this.#libc.errno() : undefined
    if (error === errors.again || error === errors.interrupted) return
    move.position += Math.max(bytes, 0)
    if (bytes <= 0 || move.position === move.end) this.#finish(move, { full: bytes <= 0, absent })
    else move.movedAt = performance.now()
  }

  /** The bytes moved; 0 where the file has no more, negative where the call failed. */
  #send({ socket, file, position }: Move, bytes: number): number {
    this.#offset[0] = position % 2 ** 32
    this.#offset[1] = Math.floor(position / 2 ** 32)
    return this.#libc.sendfile(socket, file, this.#offset, bytes)
  }

  /** Whether the byte is in memory. Then everything between the last position asked for and this one is there, too. */
  #inMemory(file: number, position: number): boolean {
    const bytes = this.#libc.preadv(file, this.#oneByte.address, 1, position, readWithoutWaiting)
    // Some file systems cannot tell, such as overlayfs and tmpfs; the latter has everything in memory.
    return bytes === 1 || (bytes < 0 && this.#libc.errno() === errors.unsupported)
  }

  #checkTimeouts(): void {
    const now = performance.now()
    if (now - this.#checkedAt < tick) return
    this.#checkedAt = now
    const { idle, busy } = this.#given
    for (const move of this.#moves.values()) {
      const full = now - move.movedAt >= idle
      if (full || now - move.startedAt >= busy) this.#finish(move, { full })
    }
  }

  #finish(move: Move, { full = true, absent = false } = {}): void {
    this.#moves.delete(move.socket)
    this.#poller.forget(move.socket)
    this.#answer({ id: move.id, bytes: move.position - move.start, full, absent })
  }
}

if (parentPort) {
  const port = parentPort
  const libc = loadLibc()
  if (!libc) throw new Error('koffi has gone')
  const sender = new Sender(libc, workerData, (answer) => port.postMessage(answer))
  port.on('message', (request: SendRequest) => {
    sender.take(request)
    while (sender.isBusy) {
      sender.turn()
      for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) sender.take(next.message)
    }
  })
  port.postMessage({ id: 0 })
  flushCompileCache()
}
