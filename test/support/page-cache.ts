import { createRequire } from 'node:module'

const dontNeed = 4
const toRead = 1
const shared = 1
const pageSize = 4096

/** The system lets go of what it is not just busy with, so it may have to be told again: so often, and after so many ms. */
const attempts = 50
const pause = 10
const sleeper = new Int32Array(new SharedArrayBuffer(4))

/**
 * Drops bytes of a file, which must be on the disk by now, from memory, where the system does as it is told. `start` is that
 * of a page.
 */
export function dropFromMemory(fd: number, start: number, length: number): void {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const libc = koffi.load(null)
  const advise = libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)')
  const map = libc.func('void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)')
  const inCore = libc.func('int mincore(void *at, size_t length, uint8_t *pages)')
  const unmap = libc.func('int munmap(void *at, size_t length)')
  const pages = new Uint8Array(Math.ceil(length / pageSize))
  const mapped = map(null, length, toRead, shared, fd, start)
  try {
    for (let attempt = 0; attempt < attempts; attempt += 1) {
      advise(fd, start, length, dontNeed)
      // To read would bring them back.
      if (inCore(mapped, length, pages) !== 0 || pages.every((page) => page % 2 === 0)) return
      Atomics.wait(sleeper, 0, 0, pause)
    }
  } finally {
    unmap(mapped, length)
  }
}
