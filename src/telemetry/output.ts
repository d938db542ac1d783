import { fstatSync, write as writeFile } from 'node:fs'
import type { Writable } from 'node:stream'

/**
 * Where log lines go. Resolves when they have left this process; rejects when they are lost. One call at a time.
 * It may take for ever: whoever calls bounds what waits behind it.
 */
export type Output = (lines: string) => Promise<void>

const retryAfter = 20

/**
 * The process's standard output, written without ever blocking the event loop or the process's end.
 *
 * Node writes asynchronously to a pipe or socket through `process.stdout`, but synchronously to a file or terminal;
 * those are written by the thread pool. A pipe is not: a thread stuck in a pipe that nobody reads cannot be cancelled,
 * and Node joins its threads before it exits (Node 24.21: exit hung until the pipe was read).
 */
export function standardOutput(): Output {
  const kind = fstatSync(1)
  return kind.isFIFO() || kind.isSocket() ? streamOutput(process.stdout) : fileOutput(1)
}

export function streamOutput(stream: Writable): Output {
  // Every write reports its own failure; without a listener a reader that went away would end the process.
  stream.on('error', () => undefined)
  return (lines) =>
    new Promise((resolve, reject) => {
      stream.write(lines, (error) => (error ? reject(error) : resolve()))
    })
}

/** Writes at the end of an open file; a full disk loses the lines of that time, not the ones after it. */
export function fileOutput(fd: number): Output {
  return async (lines) => {
    let rest = Buffer.from(lines)
    while (rest.length > 0) rest = rest.subarray(await writeSome(fd, rest))
  }
}

/** Bytes written; 0 after a while where a non-blocking terminal takes none. */
function writeSome(fd: number, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    writeFile(fd, bytes, (error, written) => {
      if (error === null) resolve(written)
      else if (error.code === 'EAGAIN') setTimeout(resolve, retryAfter, 0).unref()
      else reject(error)
    })
  })
}
