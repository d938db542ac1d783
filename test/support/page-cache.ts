import { createRequire } from 'node:module'

const dontNeed = 4

/** Drops bytes of a file, which must be on the disk by now, from memory, where the system does as it is told. */
export function dropFromMemory(fd: number, start: number, length: number): void {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const advise = koffi.load(null).func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)')
  advise(fd, start, length, dontNeed)
}
