import { readSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { type Libc, loadLibc } from './libc.ts'
import type { SendAnswer, SendRequest, SendThreadData } from './sending.ts'

/** The other side of `Sending`: a thread that waits for its connections, and for nothing else. */

/** What one connection is given before the next one's turn, in bytes. */
const span = 2 * 1024 * 1024
/** Milliseconds. What is idle is looked for so often; and the end of the process waits for this thread so long. */
const tick = 100
const mostEvents = 64

const readWithoutWaiting = 8
const errors = { interrupted: 4, again: 11, unsupported: 95 }
const operations = { add: 1, remove: 2 }
const readable = 1
const writable = 4
/** The kernel packs its events on one of the two. */
const event = process.arch === 'x64' ? { size: 12, data: 4 } : { size: 16, data: 8 }

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
  readonly #events = Buffer.alloc(mostEvents * event.size)
  readonly #event = Buffer.alloc(event.size)
  readonly #offset = new Uint32Array(2)
  #lookedAt = 0

  constructor(libc: Libc, given: SendThreadData, answer: (answer: SendAnswer) => void) {
    this.#libc = libc
    this.#given = given
    this.#answer = answer
    this.#watch(given.bell, readable)
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
    if (absent || !this.#watch(socket, writable)) {
      this.#answer({ id, bytes: 0, full: true, absent })
      return
    }
    this.#moves.set(socket, move)
    // Also a connection that is too full to be told of takes something.
    this.#advance(move)
  }

  /** Waits until a connection takes something, or the bell rings, and gives to all that do. */
  turn(): void {
    const events = this.#libc.epollWait(this.#given.epoll, this.#events, mostEvents, tick)
    for (let at = 0; at < events * event.size; at += event.size) {
      const descriptor = this.#events.readInt32LE(at + event.data)
      const move = this.#moves.get(descriptor)
      if (move) this.#advance(move)
      else if (descriptor === this.#given.bell) readSync(descriptor, this.#event, 0, 8, null)
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
    const bytes = this.#libc.preadv(file, this.#libc.oneByte, 1, position, readWithoutWaiting)
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
    this.#libc.epollControl(this.#given.epoll, operations.remove, move.socket, this.#event)
    this.#answer({ id: move.id, bytes: move.position - move.start, full, absent })
  }

  #watch(descriptor: number, events: number): boolean {
    this.#event.writeUInt32LE(events, 0)
    this.#event.writeInt32LE(descriptor, event.data)
    return this.#libc.epollControl(this.#given.epoll, operations.add, descriptor, this.#event) === 0
  }
}

function work(port: NonNullable<typeof parentPort>): void {
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

if (parentPort) work(parentPort)
