import assert from 'node:assert/strict'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { FetchPool } from '../../../src/upstream/transfer/fetch-pool.ts'
import { defaultLimits } from '../../../src/upstream/transfer/limits.ts'
import { Transport } from '../../../src/upstream/transfer/transport.ts'
import { type Fetches, watchFetches } from '../../support/fetches.ts'
import { type TempDir, tempDir } from '../../support/temp.ts'
import { stayAlive } from '../../support/threads.ts'
import { warmFetches } from '../subject.ts'

stayAlive()

const lines = (...parts: readonly string[]) => parts.join('\r\n')
const length = 'Content-Length: 5'

const answers: readonly [name: string, sent: string, kind: 'protocol' | 'unreachable' | undefined][] = [
  ['two lengths that are the same', lines('HTTP/1.1 200 OK', length, length, '', 'abcde'), 'protocol'],
  ['two lengths that differ', lines('HTTP/1.1 200 OK', length, 'Content-Length: 7', '', 'abcdefg'), 'protocol'],
  ['a length and chunks', lines('HTTP/1.1 200 OK', length, 'Transfer-Encoding: chunked', '', '0', '', ''), 'protocol'],
  ['a length that is none', lines('HTTP/1.1 200 OK', 'Content-Length: -5', '', 'abcde'), 'protocol'],
  ['a control character in a field', lines('HTTP/1.1 200 OK', length, 'X-Meta: a\x01b', '', 'abcde'), 'protocol'],
  ['a space in the name of a field', lines('HTTP/1.1 200 OK', length, 'X Meta: b', '', 'abcde'), 'protocol'],
  ['a field without a name', lines('HTTP/1.1 200 OK', length, ': x', '', 'abcde'), 'protocol'],
  ['a status that is no number', lines('HTTP/1.1 abc OK', length, '', 'abcde'), 'protocol'],
  ['a status below 100', lines('HTTP/1.1 099 OK', length, '', 'abcde'), 'protocol'],
  ['a change of protocol', lines('HTTP/1.1 101 Switching', 'Upgrade: x', 'Connection: upgrade', '', ''), 'protocol'],
  ['too long a head', lines('HTTP/1.1 200 OK', length, `X: ${'x'.repeat(40_000)}`, '', 'abcde'), 'protocol'],
  ['another protocol', lines('SSH-2.0-OpenSSH_9.2', ''), 'protocol'],
  [
    'a chunk whose length is none',
    lines('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', 'zz', 'abcde'),
    'protocol',
  ],
  ['chunks that break off', lines('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked', '', '5', 'ab'), 'unreachable'],
  ['a body that breaks off', lines('HTTP/1.1 200 OK', length, '', 'ab'), 'unreachable'],
  ['a head that breaks off', 'HTTP/1.1 200 OK\r\nConte', 'unreachable'],
  ['nothing', '', 'unreachable'],
  ['letters beyond ASCII in a field', lines('HTTP/1.1 200 OK', length, 'X-Meta: \xdc', '', 'abcde'), undefined],
  ['no reason', lines('HTTP/1.1 200', length, '', 'abcde'), undefined],
]

for (const way of ['the event loop', 'a thread'] as const) {
  describe(`to ${way}, an answer with`, () => {
    let fetches: Fetches
    let threads: FetchPool
    let dir: TempDir
    before(async () => {
      fetches = watchFetches()
      threads = new FetchPool()
      dir = await tempDir()
      if (way === 'a thread') await warmFetches(threads, fetches)
    })
    after(async () => {
      await threads[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
      fetches[Symbol.dispose]()
    })

    for (const [name, sent, kind] of answers) {
      it(`${name}: ${kind ?? 'as it is'}`, async () => {
        const server = createServer((socket) => {
          socket.on('error', () => undefined)
          socket.once('data', () => socket.end(Buffer.from(sent, 'latin1')))
        })
        server.listen(0, '127.0.0.1')
        await once(server, 'listening')
        const { port } = server.address() as AddressInfo
        await using transport = new Transport({
          upstream: 'registry.test',
          limits: defaultLimits,
          ...(way === 'a thread' && { threads }),
        })
        const url = new URL(`http://127.0.0.1:${port}/v2/`)
        const { signal } = new AbortController()
        const read = async () => {
          const request = { method: 'GET', url, headers: {}, signal } as const
          const response = await transport.download(request, undefined)
          await using handle = await open(join(dir.path, 'target'), 'w')
          const file = { descriptor: handle.fd, offset: 0, refused: () => Promise.reject(new Error('refused')) }
          let total = 0
          for await (const bytes of response.body.into(file, { skip: 0, most: undefined })) total += bytes
          return total
        }
        try {
          if (kind === undefined) assert.equal(await read(), 5)
          else await assert.rejects(read(), { name: 'UpstreamError', kind, upstream: 'registry.test' })
        } finally {
          server.close()
        }
      })
    }
  })
}
