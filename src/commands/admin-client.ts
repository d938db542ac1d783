import { type AdminAddress, adminAddress } from './admin-address.ts'
import { type Invocation, UsageError } from './command.ts'

/** The mirror was asked, and said no. */
export class AdminApiError extends Error {
  override readonly name = 'AdminApiError'
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const reasons = new Map([
  ['ECONNREFUSED', 'nothing listens there'],
  ['ECONNRESET', 'the connection broke'],
  ['ENOTFOUND', 'no such host'],
  ['EAI_AGAIN', 'the host name cannot be looked up'],
  ['EHOSTUNREACH', 'the host cannot be reached'],
  ['ETIMEDOUT', 'no answer'],
  ['UND_ERR_CONNECT_TIMEOUT', 'no answer'],
  ['UND_ERR_HEADERS_TIMEOUT', 'no answer'],
])

/** A running mirror, by its admin API. Every failure is an error of one line. */
export class AdminClient {
  readonly #address: AdminAddress

  static async from(invocation: Pick<Invocation, 'flags' | 'environment'>): Promise<AdminClient> {
    return new AdminClient(await adminAddress(invocation))
  }

  private constructor(address: AdminAddress) {
    this.#address = address
  }

  /** Without its closing slash. */
  get url(): string {
    return this.#address.url.href.replace(/\/$/, '')
  }

  /** `path` below `/api/`. */
  get<Answer>(path: string): Promise<Answer> {
    return this.#ask('GET', path)
  }

  post<Answer>(path: string, body?: object): Promise<Answer> {
    return this.#ask('POST', path, body)
  }

  delete<Answer>(collection: string, name: string): Promise<Answer> {
    // These mean other paths, however they are written in one.
    if (/^\.{0,2}$/.test(name)) throw new UsageError(`${JSON.stringify(name)} is no name`)
    return this.#ask('DELETE', `${collection}/${encodeURIComponent(name)}`)
  }

  async #ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const { url, token } = this.#address
    const headers = new Headers({ accept: 'application/json' })
    if (method !== 'GET') headers.set('content-type', 'application/json')
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
    const request = { method, headers, redirect: 'manual', ...(body && { body: JSON.stringify(body) }) } as const
    const { status, answer } = await fetch(new URL(`api/${path}`, url), request)
      .then(async (response) => ({ status: response.status, answer: parse(await response.text()) }))
      .catch((cause: unknown) => {
        throw new Error(`cannot reach a mirror at ${this.url}: ${reasonOf(cause)}`, { cause })
      })
    if (status >= 200 && status < 300 && answer !== undefined) return answer as Answer
    throw this.#refusal(status, answer)
  }

  #refusal(status: number, answer: unknown): Error {
    const { token } = this.#address
    const [error] = (answer as { errors?: readonly { message?: string }[] } | undefined)?.errors ?? []
    if (error?.message === undefined)
      return new AdminApiError(status, `no admin listener of a mirror: ${this.url} (${status})`)
    if (status === 401) {
      const advice =
        token === undefined ? 'wants a token: $ENTREPOT_ADMIN_TOKEN or --token' : 'does not take this token'
      return new AdminApiError(status, `${this.url} ${advice}`)
    }
    return status === 400 ? new UsageError(error.message) : new AdminApiError(status, error.message)
  }
}

function parse(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** undici says `fetch failed`, and why in its cause; that may be several, one for each address. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: string; message?: string; errors?: readonly { code?: string }[] } }
  const code = cause?.code ?? cause?.errors?.[0]?.code
  return reasons.get(code ?? '') ?? (cause?.message || (error instanceof Error ? error.message : String(error)))
}
