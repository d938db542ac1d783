import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, it } from 'node:test'
import type { Answer, Answers, StreamedBody } from '../../../src/http/answers.ts'
import { ResponseCache } from '../../../src/http/fast/response-cache.ts'
import { RequestIds } from '../../../src/http/request-ids.ts'
import { Counters } from '../../../src/telemetry/counters.ts'
import { Log } from '../../../src/telemetry/log.ts'
import { RequestReport } from '../../../src/telemetry/request-report.ts'

const ping = { kind: 'ping', method: 'GET', route: { kind: 'ping' } } as const
const found: Answer = {
  status: 200,
  headers: ['Content-Length', '2'],
  body: Buffer.from('{}'),
  outcome: undefined,
  content: '',
  age: undefined,
}

/** A cache before answers that the test gives; `asked` are those that were offered again. */
function open() {
  const asked: (Answer | undefined)[] = []
  const now = { value: 0 }
  const given: { answer: Answer | undefined } = { answer: found }
  const answers = {
    tryCached: (_request: unknown, last?: Answer) => {
      asked.push(last)
      return given.answer
    },
  } as unknown as Answers
  const log = new Log({ level: 'silent', output: { write: () => true, end: async () => {} } as never, now: () => 0 })
  const report = new RequestReport({ counters: new Counters([]), log })
  const cache = new ResponseCache({
    answers,
    report,
    ids: new RequestIds(),
    now: () => now.value,
    keepAlive: 5000,
    clientTimeout: 1000,
  })
  return { cache, asked, now, given }
}

function incoming(url: string): IncomingMessage {
  const rawHeaders = ['Host', 'mirror.test']
  return Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url, httpVersion: '1.1', rawHeaders })
}

function textOf(url: string): string {
  return `GET ${url} HTTP/1.1\r\nHost: mirror.test\r\n\r\n`
}

describe('ResponseCache', () => {
  it('answers a request it was told of, by every byte of its head, and dates the response by its second', () => {
    const { cache, asked, now } = open()
    assert.equal(cache.lookUp(textOf('/v2/'), '""'), undefined)
    cache.remember(incoming('/v2/'), ping, found)
    for (const [at, date] of [
      [0, '00:00:00'],
      [999, '00:00:00'],
      [1000, '00:00:01'],
    ] as const) {
      now.value = at
      const response = String(cache.lookUp(textOf('/v2/'), '""'))
      assert.ok(response.includes(`Date: Thu, 01 Jan 1970 ${date} GMT\r\n`), response)
      assert.ok(response.endsWith('\r\n\r\n{}'))
    }
    assert.deepEqual(asked, [undefined, found, found])
    assert.equal(cache.lookUp(textOf('/v2'), '""'), undefined)
  })

  it('has none where there is no answer without waiting, and has it again later', () => {
    const { cache, given } = open()
    cache.remember(incoming('/v2/'), ping, found)
    given.answer = undefined
    assert.equal(cache.lookUp(textOf('/v2/'), '""'), undefined)
    given.answer = found
    assert.equal(typeof cache.lookUp(textOf('/v2/'), '""'), 'string')
  })

  it('forgets a head whose answer has more than 64 KiB, and does not learn one', () => {
    const { cache, given } = open()
    const large = { ...found, body: Buffer.alloc(64 * 1024 + 1) }
    cache.remember(incoming('/large'), ping, large)
    assert.equal(cache.lookUp(textOf('/large'), '""'), undefined)
    cache.remember(incoming('/v2/'), ping, found)
    given.answer = large
    assert.equal(typeof cache.lookUp(textOf('/v2/'), '""'), 'string')
    assert.equal(cache.lookUp(textOf('/v2/'), '""'), undefined)
  })

  it('keeps heads within a bound, and those that are asked for', () => {
    const { cache } = open()
    cache.remember(incoming('/wanted'), ping, found)
    for (let at = 0; at < 20_000; at += 1) {
      cache.remember(incoming(`/${at}`), ping, found)
      if (at % 1000 === 0) assert.equal(typeof cache.lookUp(textOf('/wanted'), '""'), 'string')
    }
    assert.equal(cache.lookUp(textOf('/0'), '""'), undefined)
    assert.equal(typeof cache.lookUp(textOf('/19999'), '""'), 'string')
  })

  it('closes the file of an answer that it cannot write', () => {
    const { cache, given } = open()
    cache.remember(incoming('/v2/'), ping, found)
    let closed = 0
    const close = async (): Promise<void> => {
      closed += 1
    }
    const reader = { close } as unknown as StreamedBody['reader']
    given.answer = { ...found, headers: ['X', 'a\r\nb'], body: { reader, length: 5 } }
    assert.throws(() => cache.lookUp(textOf('/v2/'), '""'), { code: 'ERR_INVALID_CHAR' })
    assert.equal(closed, 1)
  })
})
