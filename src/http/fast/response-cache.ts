import { type IncomingMessage, validateHeaderValue } from 'node:http'
import type { Socket } from 'node:net'
import type { StoredAnswer } from '../../cache/blobs.ts'
import type { RepeatedFields } from '../../telemetry/request-fields.ts'
import type { PreparedReport, RequestReport } from '../../telemetry/request-report.ts'
import { ClientGone, sendBody } from '../body.ts'
import { routeFields } from '../exchange.ts'
import {
  bodyOf,
  type HotPath,
  hotHeaders,
  outcomeOf,
  type Question,
  type Recalled,
  statusOf,
  version,
} from '../hot-path.ts'
import type { RequestIds } from '../request-ids.ts'
import { BySocket } from '../response-writer.ts'
import { type PlainHead, plainHead } from './cacheable-request.ts'
import { KnownHeads, type KnownHeadsBound } from './known-heads.ts'

export interface ShortcutOptions {
  readonly hotPath: HotPath
  readonly report: RequestReport
  readonly ids: RequestIds
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Milliseconds that an idle connection is kept, as clients are told. */
  readonly keepAlive: number
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
  readonly bound?: KnownHeadsBound
}

/** A head that has been parsed, what it asks, and how that was last answered. */
interface KnownHead extends PlainHead {
  readonly question: Question
  readonly reply: Reply | undefined
}

/** An answer as it is sent, but for its id: good for a second, and as long as nothing else is recalled. */
interface Reply {
  readonly body: Buffer
  /** Seconds; -1 for what does not age. */
  readonly age: number
  /** Of the epoch. */
  readonly second: number
  /** What comes after the id. */
  readonly rest: string
  readonly report: PreparedReport
}

/** An answer whose body is in the store. Whoever gets it sends it. */
export interface LongAnswer {
  /**
   * Resolves when all of it has left, or to false where that failed, and the connection is broken off. Nobody else writes
   * to it meanwhile, nor sets its time limit.
   */
  send(socket: Socket): Promise<boolean>
}

interface Sending {
  readonly head: KnownHead
  readonly id: string
  /** What comes before the body. */
  readonly text: string
  readonly stored: StoredAnswer
}

/** Bytes: longer heads are not looked up. */
export const longestHead = 2048

const beforeId = {
  200: `HTTP/1.1 200 OK\r\n${version.join(': ')}\r\nX-Request-Id: `,
  206: `HTTP/1.1 206 Partial Content\r\n${version.join(': ')}\r\nX-Request-Id: `,
}

const defaultBound: KnownHeadsBound = { entries: 16_384, bytes: 16 * 1024 * 1024 }
/** There are as many ranges as clients think of: they must not make others forgotten. */
const partsBound: KnownHeadsBound = { entries: 4096, bytes: 4 * 1024 * 1024 }

/**
 * Answers heads that have been parsed before: the same bytes mean the same again, whoever sends them. What they mean
 * comes from node:http's parser alone, and of nothing but plain questions, so there is nothing here to be misread.
 */
export class Shortcut {
  readonly #options: ShortcutOptions
  readonly #heads: KnownHeads<KnownHead>
  /** Those that want a part. */
  readonly #parts = new KnownHeads<KnownHead>(partsBound)

  constructor(options: ShortcutOptions) {
    this.#options = options
    this.#heads = new KnownHeads(options.bound ?? defaultBound)
  }

  /**
   * Undefined where it does not know the head, or the answer is not at hand. A text is all of it, and told of as given;
   * `client` is the address, as JSON.
   */
  answer(text: string, client: string): string | LongAnswer | undefined {
    const { hotPath, ids, now } = this.#options
    const head = this.#heads.get(text) ?? this.#parts.get(text)
    if (!head) return undefined
    const recalled = hotPath.recall(head.question)
    if (!recalled) return this.#open(head)
    const { report, rest } = this.#reply(head, recalled, now())
    const id = ids.next()
    report(`"${id}"`, client)
    return `${beforeId[200]}${id}${rest}`
  }

  /**
   * The parser's word on what was asked. What is remembered is the request written out again, each field as the parser
   * understood it: whoever sends just these bytes says just that, and any other spelling is for the parser.
   */
  learn(request: IncomingMessage, question: Question): void {
    const head = plainHead(request)
    const heads = head?.range === undefined ? this.#heads : this.#parts
    if (!head || head.text.length > longestHead || heads.has(head.text)) return
    heads.set(head.text, { ...head, question, reply: undefined }, 0)
  }

  #reply(head: KnownHead, recalled: Recalled, now: number): Reply {
    const { reply: last } = head
    const body = bodyOf(recalled)
    const age = ageOf(recalled, now)
    const second = Math.floor(now / 1000)
    if (last && last.second === second && last.age === age && last.body === body) return last
    const rest = this.#rest(head, recalled, now)
    const report = last?.body === body ? last.report : this.#report(head, body)
    const reply = { body, age, second, rest, report }
    this.#heads.set(head.text, { ...head, reply }, rest.length)
    return reply
  }

  #rest(head: KnownHead, recalled: Recalled, now: number): string {
    const text = Buffer.from(this.#headers(head, recalled, now), 'latin1')
    // By way of one buffer, since a string that is put together from others is put together again at every write.
    return Buffer.concat(head.method === 'HEAD' ? [text] : [text, bodyOf(recalled)]).toString('latin1')
  }

  /** From the end of the id, as node:http would write it. */
  #headers({ question }: KnownHead, answer: Recalled | StoredAnswer, now: number): string {
    const keepAlive = Math.floor(this.#options.keepAlive / 1000)
    const fields = hotHeaders(question, answer, now)
    fields.push('Date', new Date(now).toUTCString(), 'Connection', 'keep-alive', 'Keep-Alive', `timeout=${keepAlive}`)
    let text = '\r\n'
    for (let at = 0; at < fields.length; at += 2) {
      const [name = '', value = ''] = [fields[at], fields[at + 1]]
      validateHeaderValue(name, value)
      text += `${name}: ${value}\r\n`
    }
    return `${text}\r\n`
  }

  #report(head: KnownHead, { length }: Buffer): PreparedReport {
    return this.#options.report.prepare(
      fieldsOf(head, { status: 200, bytes: head.method === 'HEAD' ? 0 : length, ms: 0 }),
    )
  }

  #open(head: KnownHead): LongAnswer | undefined {
    const { hotPath, ids, now } = this.#options
    const stored = hotPath.open(head.question, head.method)
    if (!stored) return undefined
    const id = ids.next()
    const text = `${beforeId[statusOf(stored)]}${id}${this.#headers(head, stored, now())}`
    return { send: (socket) => this.#send(socket, { head, id, text, stored }) }
  }

  async #send(socket: Socket, { head, id, text, stored }: Sending): Promise<boolean> {
    const { report, now, clientTimeout: patience } = this.#options
    const startedAt = now()
    const client = socket.remoteAddress ?? ''
    const { reader, length } = stored
    const tally = { bytes: 0 }
    let error: unknown
    try {
      await sendBody(new BySocket(socket, text), reader, { length, patience, tally })
    } catch (reason) {
      error = reason
    }
    const isGone = error instanceof ClientGone
    const why = { aborted: isGone || undefined, error: isGone ? undefined : error }
    report.tell({
      requestId: id,
      ...fieldsOf(head, { status: statusOf(stored), ...tally, ms: now() - startedAt }),
      client,
      ...why,
    })
    return error === undefined
  }
}

function fieldsOf(
  { question, method, url, userAgent, range }: KnownHead,
  { status, bytes, ms }: { status: number; bytes: number; ms: number },
): RepeatedFields {
  const route = routeFields(question.route, url)
  return { method, ...route, outcome: outcomeOf(question), status, bytes, ms, headersMs: 0, range, userAgent }
}

function ageOf(recalled: Recalled, now: number): number {
  return Buffer.isBuffer(recalled) || !recalled.tag ? -1 : Math.floor((now - recalled.tag.checkedAt) / 1000)
}
