import { createRequire } from 'node:module'

type Call = (...values: readonly unknown[]) => number

/** Functions of the C library that Node.js does not offer. Each returns as in C: negative where it failed. */
const declarations = {
  dup: 'int dup(int fd)',
  shutdown: 'int shutdown(int socket, int how)',
  setsockopt: 'int setsockopt(int socket, int level, int option, const void *value, unsigned int length)',
  eventfd: 'int eventfd(unsigned int initial, int flags)',
  epollCreate: 'int epoll_create1(int flags)',
  epollControl: 'int epoll_ctl(int epoll, int operation, int fd, void *event)',
  epollWait: 'int epoll_wait(int epoll, void *events, int room, int milliseconds)',
  /** The offset is eight bytes to read and to write. */
  sendfile: 'int64_t sendfile(int out, int in, void *offset, size_t count)',
  preadv: 'int64_t preadv2(int fd, const void *addresses, int count, int64_t offset, int flags)',
  openat2: 'int64_t syscall(int64_t number, int folder, const char *path, const void *how, size_t bytes)',
} as const

export interface Libc extends Readonly<Record<keyof typeof declarations, Call>> {
  /** Allocates memory of so many bytes, to read into. */
  readonly vector: (bytes: number) => Vector
  /** Why the last call failed. */
  readonly errno: () => number
}

/** Memory as `preadv` takes it. */
export interface Vector {
  readonly address: unknown
  readonly bytes: Buffer
  /** Limits the next read to so many bytes. */
  readonly limit: (bytes: number) => void
}

/** Undefined where it cannot be loaded: everything works without it, but copies more. Each thread loads its own. */
export function loadLibc(): Libc | undefined {
  // Offsets are passed as 64 bits.
  if (process.platform !== 'linux' || (process.arch !== 'x64' && process.arch !== 'arm64')) return undefined
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
    const library = koffi.load(null)
    const type = koffi.struct({ base: 'void *', length: 'size_t' })
    const vector = (length: number): Vector => {
      const [address, base] = [koffi.alloc(type, 1), koffi.alloc('uint8_t', length)]
      koffi.encode(address, type, { base, length })
      const fields = new DataView(koffi.view(address, 16))
      const limit = (bytes: number): void => fields.setUint32(8, bytes, true)
      return { address, bytes: Buffer.from(koffi.view(base, length)), limit }
    }
    const calls = Object.entries(declarations).map(([name, text]) => [name, library.func(text) as Call] as const)
    return {
      ...(Object.fromEntries(calls) as Pick<Libc, keyof typeof declarations>),
      vector,
      errno: () => koffi.errno(),
    }
  } catch {
    return undefined
  }
}
