import { fstatSync, write as writeFile } from 'node:fs'
import type { Writable } from 'node:stream'

/**
 * Writes log lines. Resolves when they have left this process, rejects when they are lost. Called once at a time. It may
 * never resolve: the caller bounds what waits for it.
 */
export type Output = (lines: string) => Promise<void>

/** Milliseconds. */
const retryDelay = 20

/**
 * The process's standard output, written so that it blocks neither the event loop nor the process's exit.
 *
 * `process.stdout` writes asynchronously to a pipe or socket, but synchronously to a file or terminal; so the thread
 * pool writes to those. It does not write to a pipe: a write to a pipe that nobody reads cannot be cancelled, and Node
 * joins its threads before it exits (Node 24.21: exit hung until the pipe was read).
 */
export function standardOutput(): Output {
  const kind = fstatSync(1)
  return kind.isFIFO() || kind.isSocket() ? streamOutput(process.stdout) : fileOutput(1)
}

export function streamOutput(stream: Writable): Output {
  // Every write reports its own failure. Without a listener, a closed pipe would end the process.
  stream.on('error', () => undefined)
  return (lines) =>
    new Promise((resolve, reject) => {
      stream.write(lines, (error) => (error ? reject(error) : resolve()))
    })
}

/** Appends to an open file. A full disk loses the lines of that time, but no later ones. */
export function fileOutput(fd: number): Output {
  return async (lines) => {
    let rest = Buffer.from(lines)
    while (rest.length > 0) rest = rest.subarray(await writeSome(fd, rest))
  }
}

/** Resolves with the bytes written: 0, after a pause, if a non-blocking terminal takes none. */
function writeSome(fd: number, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    writeFile(fd, bytes, (error, written) => {
      if (error === null) resolve(written)
      else if (error.code === 'EAGAIN') setTimeout(resolve, retryDelay, 0).unref()
      else reject(error)
    })
  })
}
