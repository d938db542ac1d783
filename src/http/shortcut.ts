import { type IncomingMessage, validateHeaderValue } from 'node:http'
import type { PreparedReport, RequestReport } from '../telemetry/request-report.ts'
import { routeFields } from './exchange.ts'
import { bodyOf, type HotPath, hotHeaders, outcomeOf, type Question, type Recalled, version } from './hot-path.ts'
import { KnownHeads, type KnownHeadsBound } from './known-heads.ts'
import { type PlainHead, plainHead } from './plain-head.ts'
import type { RequestIds } from './request-ids.ts'

export interface ShortcutOptions {
  readonly hotPath: HotPath
  readonly report: RequestReport
  readonly ids: RequestIds
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Milliseconds that an idle connection is kept, as clients are told. */
  readonly keepAlive: number
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

/** Bytes: longer heads are not looked up. */
export const longestHead = 2048

const beforeId = `HTTP/1.1 200 OK\r\n${version.join(': ')}\r\nX-Request-Id: `

const defaultBound: KnownHeadsBound = { entries: 16_384, bytes: 16 * 1024 * 1024 }

/**
 * Answers heads that have been parsed before: the same bytes mean the same again, whoever sends them. What they mean
 * comes from node:http's parser alone, and of nothing but plain questions, so there is nothing here to be misread.
 */
export class Shortcut {
  readonly #options: ShortcutOptions
  readonly #heads: KnownHeads<KnownHead>

  constructor(options: ShortcutOptions) {
    this.#options = options
    this.#heads = new KnownHeads(options.bound ?? defaultBound)
  }

  /**
   * Undefined where it does not know the head, or memory not the answer. An answer is told of as given; `client` is the
   * address, as JSON.
   */
  answer(text: string, client: string): string | undefined {
    const { hotPath, ids, now } = this.#options
    const head = this.#heads.get(text)
    const recalled = head && hotPath.recall(head.question)
    if (!recalled) return undefined
    const { report, rest } = this.#reply(head, recalled, now())
    const id = ids.next()
    report(`"${id}"`, client)
    return `${beforeId}${id}${rest}`
  }

  /**
   * The parser's word on what was asked. What is remembered is the request written out again, each field as the parser
   * understood it: whoever sends just these bytes says just that, and any other spelling is for the parser.
   */
  learn(request: IncomingMessage, question: Question): void {
    const head = plainHead(request)
    if (!head || head.text.length > longestHead || this.#heads.has(head.text)) return
    this.#heads.set(head.text, { ...head, question, reply: undefined }, 0)
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

  /** As node:http would write it. */
  #rest({ question, method }: KnownHead, recalled: Recalled, now: number): string {
    const keepAlive = Math.floor(this.#options.keepAlive / 1000)
    const fields = hotHeaders(question, recalled, now)
    fields.push('Date', new Date(now).toUTCString(), 'Connection', 'keep-alive', 'Keep-Alive', `timeout=${keepAlive}`)
    let text = '\r\n'
    for (let at = 0; at < fields.length; at += 2) {
      const [name = '', value = ''] = [fields[at], fields[at + 1]]
      validateHeaderValue(name, value)
      text += `${name}: ${value}\r\n`
    }
    const head = Buffer.from(`${text}\r\n`, 'latin1')
    // By way of one buffer, since a string that is put together from others is put together again at every write.
    return Buffer.concat(method === 'HEAD' ? [head] : [head, bodyOf(recalled)]).toString('latin1')
  }

  #report({ question, method, url, userAgent }: KnownHead, body: Buffer): PreparedReport {
    return this.#options.report.prepare({
      method,
      ...routeFields(question.route, url),
      outcome: outcomeOf(question),
      status: 200,
      bytes: method === 'HEAD' ? 0 : body.length,
      ms: 0,
      headersMs: 0,
      userAgent,
    })
  }
}

function ageOf(recalled: Recalled, now: number): number {
  return Buffer.isBuffer(recalled) || !recalled.tag ? -1 : Math.floor((now - recalled.tag.checkedAt) / 1000)
}
