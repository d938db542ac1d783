import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

const [tcp, cork] = [6, 3]

/** Whether the kernel holds back what does not fill a segment of a socket. */
export function isCorked(socket: number): boolean {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi')
  const ask = koffi.load(null).func('int getsockopt(int socket, int level, int option, void *value, void *length)')
  const value = new Int32Array(1)
  assert.equal(ask(socket, tcp, cork, value, Int32Array.of(value.byteLength)), 0)
  return value[0] === 1
}
