import { type Logger, pino } from 'pino'
import { LineBuffer } from './line-buffer.ts'
import type { Output } from './output.ts'
import { redact, redactError, redactText } from './redact.ts'
import type { RepeatedFields, RequestFields } from './request-fields.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface LogOptions {
  readonly level: LogLevel
  readonly output: Output
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Bytes of lines that may wait for a slow output; those beyond are dropped and counted. */
  readonly bound?: number
}

/**
 * JSON lines. Writing never blocks and never throws; what a slow output cannot take is dropped and counted.
 * Secrets are censored here, for every line: fields by their key, texts by their shape.
 */
export class Log {
  readonly #pino: Logger
  readonly #buffer: LineBuffer
  readonly #now: () => number
  #timeOf = Number.NaN
  #timeText = ''
  #begunAt = ''
  #begunWith: RequestLevel | undefined
  #begun = ''

  constructor({ level, output, now, bound }: LogOptions) {
    this.#now = now
    this.#buffer = new LineBuffer(bound === undefined ? { output } : { output, bound })
    this.#pino = pino(
      {
        level,
        base: null,
        timestamp: () => `,"time":"${this.#time()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line: string) => this.#buffer.write(line) },
    )
  }

  /** Lines lost since the start. */
  get dropped(): number {
    return this.#buffer.dropped
  }

  debug(message: string, fields: object = {}): void {
    if (this.#pino.isLevelEnabled('debug')) this.#pino.debug(redact(fields), redactText(message))
  }

  info(message: string, fields: object = {}): void {
    if (this.#pino.isLevelEnabled('info')) this.#pino.info(redact(fields), redactText(message))
  }

  warn(message: string, fields: object = {}): void {
    if (this.#pino.isLevelEnabled('warn')) this.#pino.warn(redact(fields), redactText(message))
  }

  error(message: string, fields: object = {}): void {
    if (this.#pino.isLevelEnabled('error')) this.#pino.error(redact(fields), redactText(message))
  }

  /** The one line of a request. */
  request({ requestId, ...fields }: RequestFields): void {
    const level = levelOf(fields)
    if (!this.#pino.isLevelEnabled(level)) return
    // Written by hand, in a fifth of the time that a general logger takes over it: of these there are many.
    this.#buffer.write(`${this.#beginning(level)}${JSON.stringify(requestId)},${requestText(fields)}}\n`)
  }

  /**
   * The lines of requests that differ in nothing but their id and their client, which are given as JSON: what they share
   * is written out once, and measured once.
   */
  prepareRequest(fields: RepeatedFields): (requestId: string, client: string) => void {
    const level = levelOf(fields)
    if (!this.#pino.isLevelEnabled(level)) return () => undefined
    const text = `,${requestText(fields)},"client":`
    const beyond = Buffer.byteLength(text) - text.length
    return (requestId, client) => {
      const line = `${this.#beginning(level)}${requestId}${text}${client}}\n`
      this.#buffer.write(line, line.length + beyond)
    }
  }

  /** Of a request's line, up to its id: written once for all lines of a millisecond, like the time in it. */
  #beginning(level: RequestLevel): string {
    const time = this.#time()
    if (time !== this.#begunAt || level !== this.#begunWith) {
      this.#begunAt = time
      this.#begunWith = level
      this.#begun = `{"level":"${level}","time":"${time}","msg":"request","requestId":`
    }
    return this.#begun
  }

  /** The time now, written once for all lines of a millisecond. */
  #time(): string {
    const now = this.#now()
    if (now !== this.#timeOf) {
      this.#timeOf = now
      this.#timeText = new Date(now).toISOString()
    }
    return this.#timeText
  }

  /** To be awaited before the process ends. Resolves when every line is out, or after `limit` milliseconds. */
  async flush(limit = 1000): Promise<void> {
    await this.#buffer.flush(limit)
  }
}

type RequestLevel = 'info' | 'warn' | 'error'

/** A client that left is no error; a 500 is ours, another 5xx mostly the upstream's. */
function levelOf({ aborted, status }: RepeatedFields): RequestLevel {
  return aborted || status < 500 ? 'info' : status === 500 ? 'error' : 'warn'
}

/** The fields between the braces, redacted: by hand, since strangers fill in only these few. */
function requestText(fields: RepeatedFields): string {
  const line: Record<string, unknown> = { ...fields }
  if (fields.path !== undefined) line['path'] = redactText(fields.path)
  if (fields.range !== undefined) line['range'] = redactText(fields.range)
  if (fields.userAgent !== undefined) line['userAgent'] = redactText(fields.userAgent)
  if (fields.error !== undefined) line['error'] = redactError(fields.error)
  return JSON.stringify(line).slice(1, -1)
}
