import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer } from './answer.ts'
import type { Behaviour } from './behaviour.ts'
import { sliceSize } from './bytes.ts'
import { Gate } from './gate.ts'
import type { OpenRequest } from './request-log.ts'

/** One answer on its way out, with everything that a behaviour does to its timing and its connection. */
export async function send(
  answer: Answer,
  response: ServerResponse,
  behaviour: Behaviour,
  record: OpenRequest,
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => {
    record.state = record.state === 'open' && response.writableFinished ? 'complete' : 'cut'
    gone.abort()
  })
  if (behaviour.delay !== undefined) await pause(behaviour.delay, gone.signal)
  if (behaviour.gate && behaviour.gateAt === undefined) await held(behaviour.gate, gone.signal)
  if (gone.signal.aborted || behaviour.instead === 'silence') return
  if (behaviour.instead === 'malformed') response.socket?.write(malformed)
  if (behaviour.instead) return cut(response, record, behaviour.instead === 'rst' ? 'rst' : 'fin')
  record.status = answer.status
  writeHead(answer, response, behaviour)
  if (record.method === 'HEAD' || answer.status === 304) {
    response.end()
    return
  }
  response.flushHeaders()
  if (behaviour.bodyDelay !== undefined) await pause(behaviour.bodyDelay, gone.signal)
  await sendBody(answer, response, behaviour, record, gone.signal)
}

const malformed = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg'

function writeHead(answer: Answer, response: ServerResponse, behaviour: Behaviour): void {
  response.statusCode = answer.status
  for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value)
  if (behaviour.closeDelimited) response.useChunkedEncodingByDefault = false
}

interface Stop {
  readonly at: number
  readonly what: Gate | Promise<unknown> | 'stall' | 'fin' | 'rst' | 'half'
}

async function sendBody(
  { body, headers }: Answer,
  response: ServerResponse,
  behaviour: Behaviour,
  record: OpenRequest,
  gone: AbortSignal,
): Promise<void> {
  let offset = 0
  for (const { at, what } of stopsOf(behaviour)) {
    offset = await sendSlices(offset, Math.min(at, body.size))
    if (gone.aborted || what === 'stall') return
    if (what === 'fin' || what === 'rst' || what === 'half') return cut(response, record, what)
    await held(what, gone)
  }
  await sendSlices(offset, body.size)
  if (gone.aborted) return
  const declared = headers['content-length']
  if (declared === undefined || declared === String(body.size)) response.end()
  else await cut(response, record, 'fin')

  async function sendSlices(from: number, to: number): Promise<number> {
    const step = behaviour.throttle ? Math.max(1, Math.min(sliceSize, Math.floor(behaviour.throttle / 20))) : sliceSize
    let at = from
    while (at < to && !gone.aborted) {
      const slice = body.slice(at, Math.min(at + step, to))
      at += slice.length
      record.bytesSent += slice.length
      if (!response.write(slice)) await drained(response)
      if (behaviour.throttle) await pause((slice.length / behaviour.throttle) * 1000, gone)
    }
    return at
  }
}

/** In order of place; a gate before the end that shares its place. */
function stopsOf({ gate, gateAt, gates = [], stallAfter, cutAfter, cut: how = 'fin' }: Behaviour): Stop[] {
  const stops: Stop[] = gates.map(({ at, gate: what }) => ({ at, what }))
  if (gate && gateAt !== undefined) stops.push({ at: gateAt, what: gate })
  if (stallAfter !== undefined) stops.push({ at: stallAfter, what: 'stall' })
  if (cutAfter !== undefined) stops.push({ at: cutAfter, what: how })
  return stops.sort((a, b) => a.at - b.at)
}

/** Everything written before goes out first. */
async function cut(response: ServerResponse, record: OpenRequest, how: 'fin' | 'rst' | 'half'): Promise<void> {
  record.state = 'cut'
  const { socket } = response
  if (!socket) return
  if (how === 'half') {
    socket.end()
    return
  }
  if (how === 'fin') {
    socket.destroySoon()
    return
  }
  await new Promise((resolve) => socket.write('', resolve))
  socket.resetAndDestroy()
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    if (response.destroyed) return resolve()
    response.once('drain', done)
    response.once('close', done)
  })
}

/** Until the gate opens or the client leaves. */
async function held(gate: Gate | Promise<unknown>, gone: AbortSignal): Promise<void> {
  if (gone.aborted) return
  const left = Promise.withResolvers<void>()
  const leave = () => left.resolve()
  gone.addEventListener('abort', leave)
  await Promise.race([gate instanceof Gate ? gate.pass() : gate, left.promise])
  gone.removeEventListener('abort', leave)
}

async function pause(milliseconds: number, gone: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal: gone }).catch(() => {})
}
