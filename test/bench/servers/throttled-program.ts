import { createReadStream, statSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * A registry behind a thin line: `throttled-program.ts ROOT PORT BYTES_PER_SECOND`. The rate is that of all connections
 * together, as a site's uplink is; nginx can only limit each.
 */

const [root = '', port = '', rate = ''] = process.argv.slice(2)
const bytesPerSecond = Number(rate)
const slice = 128 * 1024
/** Milliseconds that may be made up for when a timer is late. */
const slack = 20

const account = new Map<string, { gets: number; bytes: number }>()
let free = 0

/** Resolves when the line has carried so many bytes more. */
async function carry(bytes: number): Promise<void> {
  free = Math.max(free, performance.now() - slack) + (bytes / bytesPerSecond) * 1000
  const wait = free - performance.now()
  if (wait > 0) await sleep(wait)
}

async function send(hex: string, start: number, response: ServerResponse): Promise<void> {
  const entry = account.get(hex) ?? { gets: 0, bytes: 0 }
  account.set(hex, entry)
  entry.gets += 1
  for await (const chunk of createReadStream(join(root, 'blobs', hex), { start, highWaterMark: slice })) {
    if (response.destroyed) return
    await carry((chunk as Buffer).length)
    entry.bytes += (chunk as Buffer).length
    if (!response.write(chunk)) await Promise.race([once(response, 'drain'), once(response, 'close')])
  }
  response.end()
  await finished(response)
}

function once(response: ServerResponse, event: 'drain' | 'close'): Promise<void> {
  return new Promise((resolve) => response.once(event, resolve))
}

function sizeOf(hex: string): number | undefined {
  return statSync(join(root, 'blobs', hex), { throwIfNoEntry: false })?.size
}

createServer((request, response) => {
  const path = request.url ?? ''
  if (path === '/v2/' || path === '/ready') {
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}')
    return
  }
  if (path.startsWith('/account/')) {
    response.end(JSON.stringify(account.get(path.slice('/account/'.length)) ?? { gets: 0, bytes: 0 }))
    return
  }
  const hex = /\/blobs\/sha256:([0-9a-f]{64})$/.exec(path)?.[1]
  const size = hex === undefined ? undefined : sizeOf(hex)
  if (hex === undefined || size === undefined) {
    response.writeHead(404).end()
    return
  }
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  response.writeHead(start > 0 ? 206 : 200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': size - start,
    'Docker-Content-Digest': `sha256:${hex}`,
    ...(start > 0 && { 'Content-Range': `bytes ${start}-${size - 1}/${size}` }),
  })
  if (request.method === 'HEAD') response.end()
  else send(hex, start, response).catch(() => response.destroy())
}).listen(Number(port), '127.0.0.1')
