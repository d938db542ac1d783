import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import { buildConnector } from 'undici'
import { Held } from './held.ts'

/** Bytes taken from the kernel at once. */
export const receiveSize = 128 * 1024

/** What the parser is given for body bytes that were received where they belong: it only counts them. */
const standIn = Buffer.alloc(receiveSize)

/**
 * Makes the connections of an upstream. All of them receive into one buffer, where a socket left to itself allocates 64 KiB
 * for every read: of a large body that is a full garbage collection every 30 MB. Or into the memory of whoever reads a
 * body, `Inlet.receiveInto`.
 *
 * So what a response's handler is given is valid until it returns, and no longer. The head of an answer is copied, since a
 * parser keeps parts of it; that it is over shows when the handler pauses, as it should before a large body.
 */
export class Connector {
  /** Through which what a handler is just being given has come. */
  receiving: Inlet | undefined
  readonly #timeout: number
  readonly #buffer = Buffer.allocUnsafeSlow(receiveSize)
  // undici keeps them for each connector, and here every connection has one of its own.
  readonly #sessions = new LRUCache<string, Buffer>({ max: 100 })

  /** `timeout` in milliseconds. */
  constructor(timeout: number) {
    this.#timeout = timeout
  }

  readonly connect: buildConnector.connector = (target, callback) => {
    const inlet = new Inlet(this.#buffer)
    const server = target.servername || target.hostname
    const session = this.#sessions.get(server)
    const connect = buildConnector({
      allowH2: false,
      timeout: this.#timeout,
      ...(session && { session }),
      onread: { buffer: () => inlet.room(), callback: (length, buffer) => this.#receive(inlet, length, buffer) },
    })
    connect(target, (...[error, socket]) => {
      if (error) return callback(error, null)
      inlet.attach(socket)
      socket.on('session', (fresh: Buffer) => this.#sessions.set(server, fresh))
      callback(null, socket)
    })
  }

  #receive(inlet: Inlet, length: number, { buffer, byteOffset }: Uint8Array): boolean {
    this.receiving = inlet
    const goesOn = inlet.receive(Buffer.from(buffer, byteOffset, length))
    this.receiving = undefined
    return goesOn
  }
}

/** Node.js has no public way to a descriptor. */
type SocketWithHandle = Socket & { readonly _handle?: { readonly fd?: number } | null }

/** Between a socket that is given its bytes and a parser that takes them by `read`, and now and then has enough. */
export class Inlet {
  readonly #buffer: Buffer
  #socket: Socket | undefined
  #isEncrypted = false
  #left: Buffer | undefined
  readonly #held = new Held()
  #paused = false
  #ended = false
  /** What had been sent when the last answer began. */
  #sent: number | undefined
  #inHead = true
  #room: (() => Buffer | undefined) | undefined
  /** What the parser is given a stand-in for. */
  #original: Buffer | undefined

  constructor(buffer: Buffer) {
    this.#buffer = buffer
  }

  attach(socket: Socket): void {
    this.#socket = socket
    this.#isEncrypted = 'encrypted' in socket
    const read = socket.read.bind(socket)
    const push = socket.push.bind(socket)
    socket.read = (size?: number): Buffer | null => {
      if (size === 0) return read(0)
      const bytes = this.#left
      this.#left = undefined
      this.#paused = false
      if (bytes) return bytes
      if (this.#ended) push(null)
      // Goes on receiving where that was paused, and tells of the end.
      read(0)
      return null
    }
    // The end waits for what came before it: TLS tells of both, though reception is paused.
    socket.push = (bytes: unknown): boolean => {
      this.#ended = bytes === null
      return this.#ended && (this.#paused || this.#left !== undefined) ? false : push(bytes)
    }
    // How a parser says that it pauses, with what it has not used of the chunk. It never does so within a head.
    socket.unshift = (bytes: Buffer): void => {
      if (bytes.length > 0) this.#left = bytes
      this.#paused = true
      this.#inHead = false
    }
  }

  /**
   * Has nothing but the bytes of a body received where `room` says: each time into no more than are left of it. Once said,
   * a room is used for that, if not at once; undefined for none from now on.
   */
  receiveInto(room: (() => Buffer | undefined) | undefined): void {
    this.#room = room
  }

  /** Whether what is received is what was sent. */
  get isPlain(): boolean {
    return !this.#isEncrypted
  }

  /** Of the connection, where somebody else may receive what comes next: not what is encrypted, nor within a chunk. */
  get descriptor(): number | undefined {
    if (this.#isEncrypted || !this.#paused || this.#left || this.#ended) return undefined
    return (this.#socket as SocketWithHandle | undefined)?._handle?.fd
  }

  /** Where the next bytes go. */
  room(): Buffer {
    // TLS goes on while it should not, and what comes then is not in order yet.
    const isHeld = this.#paused && this.#isEncrypted
    return (isHeld ? undefined : this.#room?.()) ?? this.#buffer
  }

  /** Whether to go on receiving. Called all the same, by TLS: what it has deciphered it hands over. */
  receive(bytes: Buffer): boolean {
    const isInPlace = bytes.buffer !== this.#buffer.buffer
    const sent = this.#socket?.bytesWritten
    if (sent !== this.#sent) this.#inHead = true
    if (isInPlace) this.#inHead = false
    this.#sent = sent
    this.#original = isInPlace ? bytes : undefined
    this.#pass(isInPlace ? standIn.subarray(0, bytes.length) : bytes)
    this.#socket?.emit('readable')
    if (this.#left?.buffer === bytes.buffer) this.#left = this.#held.hold(undefined, this.#left)
    return !this.#paused && !this.#left
  }

  /** What the parser was given, as it was received. */
  original(chunk: Buffer): Buffer {
    return chunk.buffer === standIn.buffer ? (this.#original?.subarray(0, chunk.length) ?? chunk) : chunk
  }

  #pass(bytes: Buffer): void {
    // A parser keeps parts of a head until it has the whole.
    const lasting = this.#inHead ? Buffer.from(bytes) : bytes
    this.#left = this.#left ? this.#held.hold(this.#left, lasting) : lasting
  }
}
