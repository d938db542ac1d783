import { createRequire } from 'node:module'

type Call = (...values: readonly unknown[]) => number

/** Of the C library, what Node.js has not. Each returns as it does in C: negative where it failed. */
export interface Libc {
  /** `(fd)` */
  readonly dup: Call
  /** `(socket, how)` */
  readonly shutdown: Call
  /** `(socket, level, option, value, bytes)` */
  readonly setsockopt: Call
  /** `(initial, flags)` */
  readonly eventfd: Call
  /** `(flags)` */
  readonly epollCreate: Call
  /** `(epoll, operation, fd, event)` */
  readonly epollControl: Call
  /** `(epoll, events, room, milliseconds)` */
  readonly epollWait: Call
  /** `(socket, file, offset, bytes)`, where the offset is eight bytes to read and to write. */
  readonly sendfile: Call
  /** `(socket, buffer, bytes, flags)` */
  readonly recv: Call
  /** `(fd, address, addresses, offset, flags)` */
  readonly preadv: Call
  /** One address of one byte, for `preadv`. */
  readonly oneByte: unknown
  /** Why the last call failed. */
  readonly errno: () => number
}

/** Undefined where it cannot be had: everything works without it, at the price of copies. A thread needs its own. */
export function loadLibc(): Libc | undefined {
  // Offsets are passed as 64 bits.
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) return undefined
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const library = koffi.load(null)
    const call = (declaration: string): Call => library.func(declaration) as Call
    const address = koffi.struct({ base: 'void *', length: 'size_t' })
    const oneByte: unknown = koffi.alloc(address, 1)
    koffi.encode(oneByte, address, { base: koffi.alloc('uint8_t', 1), length: 1 })
    return {
      dup: call('int dup(int fd)'),
      shutdown: call('int shutdown(int socket, int how)'),
      setsockopt: call('int setsockopt(int socket, int level, int option, const void *value, unsigned int length)'),
      eventfd: call('int eventfd(unsigned int initial, int flags)'),
      epollCreate: call('int epoll_create1(int flags)'),
      epollControl: call('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
      epollWait: call('int epoll_wait(int epoll, void *events, int room, int milliseconds)'),
      sendfile: call('int64_t sendfile(int out, int in, void *offset, size_t count)'),
      recv: call('int64_t recv(int socket, void *buffer, size_t bytes, int flags)'),
      preadv: call('int64_t preadv2(int fd, const void *addresses, int count, int64_t offset, int flags)'),
      oneByte,
      errno: () => koffi.errno(),
    }
  } catch {
    return undefined
  }
}
