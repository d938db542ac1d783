import { type IncomingMessage, STATUS_CODES, validateHeaderValue } from 'node:http'
import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { RepeatedFields } from '../../telemetry/request-fields.ts'
import type { PreparedReport, RequestReport } from '../../telemetry/request-report.ts'
import type { Answer, Answers, StreamedBody } from '../answers.ts'
import { ClientGone, sendBody } from '../body.ts'
import { routeFields } from '../exchange.ts'
import type { RegistryRequest } from '../request.ts'
import type { RequestIds } from '../request-ids.ts'
import { commonHeaders } from '../respond.ts'
import { socketWriter } from '../response-writer.ts'
import { type CacheableRequest, cacheableRequest } from './cacheable-request.ts'

export interface ResponseCacheOptions {
  readonly answers: Answers
  readonly report: RequestReport
  readonly ids: RequestIds
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Milliseconds that an idle connection is kept, as clients are told. */
  readonly keepAlive: number
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
}

/** The head of a request, what node:http's parser made of it, and the last response to it. */
interface KnownHead extends CacheableRequest {
  readonly request: RegistryRequest
  readonly response: Rendered | undefined
}

/** A response as it is written, but for its id. It is good for one second, for its `Date`. */
interface Rendered {
  readonly answer: Answer
  /** Of the epoch. */
  readonly second: number
  readonly beforeId: string
  readonly afterId: string
  readonly report: PreparedReport
}

/** A response whose body is in a file. Whoever gets it calls `send`. */
export interface FileResponse {
  /**
   * Resolves to whether all of it has left; if not, the connection has been cut. Meanwhile nobody else writes to the
   * connection or sets its time limit.
   */
  send(socket: Socket): Promise<boolean>
}

/** Bytes. Longer heads are not looked up, and larger bodies in memory are answered by node:http. */
export const maxHead = 2048
const maxBody = 64 * 1024

/** Bytes of the objects around an entry. */
const overhead = 1024

function knownHeads(entries: number, bytes: number): LRUCache<string, KnownHead> {
  return new LRUCache({
    max: entries,
    maxSize: bytes,
    sizeCalculation: ({ response }, text) => 2 * text.length + (response?.afterId.length ?? 0) + overhead,
  })
}

/**
 * Responses by the text of the request's head: the same bytes mean the same request, whoever sends them. What they mean
 * comes from node:http's parser, and only for requests whose head holds nothing but headers that change no answer. What
 * the answer is comes from `Answers`, each time; here only its text is kept.
 */
export class ResponseCache {
  readonly #options: ResponseCacheOptions
  readonly #heads = knownHeads(16_384, 16 * 1024 * 1024)
  /** Heads with a range, kept apart: clients may send any number of them, and the others must not be forgotten. */
  readonly #ranges = knownHeads(4096, 4 * 1024 * 1024)

  constructor(options: ResponseCacheOptions) {
    this.#options = options
  }

  /**
   * The response to a request of just this text, as a text where it is in memory. It counts as sent. Undefined means: ask
   * node:http. `client`: the address, as JSON.
   */
  lookUp(text: string, client: string): string | FileResponse | undefined {
    const { answers, ids, now } = this.#options
    const head = this.#heads.get(text) ?? this.#ranges.get(text)
    if (!head) return undefined
    const answer = answers.tryCached(head.request, head.response?.answer)
    if (!answer) return undefined
    const { body } = answer
    if (body !== undefined && !Buffer.isBuffer(body)) return this.#file(head, answer, body)
    const { beforeId, afterId, report } = this.#render(head, answer, body, now())
    const id = ids.next()
    report(`"${id}"`, client)
    return `${beforeId}${id}${afterId}`
  }

  /**
   * Remembers what a request means that node:http has parsed, and that was answered without waiting. The text is the
   * request written out again from the parser's fields: another spelling of the same request is left to the parser.
   */
  remember(incoming: IncomingMessage, request: RegistryRequest, { status, body }: Answer): void {
    if (Buffer.isBuffer(body) && body.length > maxBody) return
    const head = cacheableRequest(incoming)
    // A Range that changes nothing is none that this cache has to know.
    if (!head || head.text.length > maxHead || (head.range !== undefined && status !== 206)) return
    const heads = this.#headsFor(head)
    if (!heads.has(head.text)) heads.set(head.text, { ...head, request, response: undefined })
  }

  #headsFor({ range }: CacheableRequest): LRUCache<string, KnownHead> {
    return range === undefined ? this.#heads : this.#ranges
  }

  #render(head: KnownHead, answer: Answer, body: Buffer | undefined, now: number): Rendered {
    const { response: last } = head
    const second = Math.floor(now / 1000)
    if (last?.answer === answer && last.second === second) return last
    const { beforeId, afterId } = this.#head(answer, now)
    const bytes = body?.length ?? 0
    const rendered = {
      answer,
      second,
      beforeId,
      // By way of one buffer: a string that was joined from others is joined again at each write.
      afterId: body ? Buffer.concat([Buffer.from(afterId, 'latin1'), body]).toString('latin1') : afterId,
      report:
        last?.answer === answer ? last.report : this.#options.report.prepare(fieldsOf(head, answer, { bytes, ms: 0 })),
    }
    const heads = this.#headsFor(head)
    // A tag may have moved to a larger manifest: that is answered once more, and by node:http from then on.
    if (bytes > maxBody) heads.delete(head.text)
    else heads.set(head.text, { ...head, response: rendered })
    return rendered
  }

  /** The response's head, as node:http would write it. */
  #head({ status, headers }: Answer, now: number): { beforeId: string; afterId: string } {
    const keepAlive = Math.floor(this.#options.keepAlive / 1000)
    const date = new Date(now).toUTCString()
    const all = [...headers, 'Date', date, 'Connection', 'keep-alive', 'Keep-Alive', `timeout=${keepAlive}`]
    return {
      beforeId: `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${fieldLines(commonHeaders)}X-Request-Id: `,
      afterId: `\r\n${fieldLines(all)}\r\n`,
    }
  }

  #file(head: KnownHead, answer: Answer, body: StreamedBody): FileResponse {
    try {
      const { beforeId, afterId } = this.#head(answer, this.#options.now())
      const id = this.#options.ids.next()
      return { send: (socket) => this.#send(socket, { head, answer, body, id, text: `${beforeId}${id}${afterId}` }) }
    } catch (error) {
      void body.reader.close()
      throw error
    }
  }

  async #send(
    socket: Socket,
    { head, answer, body, id, text }: { head: KnownHead; answer: Answer; body: StreamedBody; id: string; text: string },
  ): Promise<boolean> {
    const { report, now, clientTimeout } = this.#options
    const startedAt = now()
    const client = socket.remoteAddress ?? ''
    const tally = { bytes: 0 }
    let error: unknown
    try {
      await sendBody(socketWriter(socket, text), body.reader, { length: body.length, clientTimeout, tally })
    } catch (reason) {
      error = reason
    }
    const isGone = error instanceof ClientGone
    report.record({
      requestId: id,
      ...fieldsOf(head, answer, { ...tally, ms: now() - startedAt }),
      client,
      aborted: isGone || undefined,
      error: isGone ? undefined : error,
    })
    return error === undefined
  }
}

/** Throws where a value is none that a header can have. */
function fieldLines(headers: readonly string[]): string {
  let lines = ''
  for (let at = 0; at < headers.length; at += 2) {
    const [name = '', value = ''] = [headers[at], headers[at + 1]]
    validateHeaderValue(name, value)
    lines += `${name}: ${value}\r\n`
  }
  return lines
}

function fieldsOf(
  { request, method, url, userAgent, range }: KnownHead,
  { outcome, status }: Answer,
  { bytes, ms }: { bytes: number; ms: number },
): RepeatedFields {
  return { method, ...routeFields(request.route, url), outcome, status, bytes, ms, headersMs: 0, range, userAgent }
}
