import type { AdminApi as Api, ProblemAnswer } from '../admin/answers.ts'
import { type AdminAddress, adminAddress } from './admin-address.ts'
import { type Invocation, UsageError } from './command.ts'

/** An error answer of the admin API. */
export class AdminApiError extends Error {
  override readonly name = 'AdminApiError'
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** By error code. */
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

/** The admin API of a running mirror. Every failure is an error with a message of one line. */
export class AdminClient {
  readonly #address: AdminAddress

  static async from(invocation: Pick<Invocation, 'flags' | 'environment'>): Promise<AdminClient> {
    return new AdminClient(await adminAddress(invocation))
  }

  private constructor(address: AdminAddress) {
    this.#address = address
  }

  /** Without a trailing slash. */
  get url(): string {
    return this.#address.url.href.replace(/\/$/, '')
  }

  /** `path` is below `/api/`. */
  get<Path extends keyof Api['GET']>(path: Path, query?: URLSearchParams): Promise<Api['GET'][Path]> {
    return this.#request('GET', query ? `${path}?${query}` : path)
  }

  post<Path extends keyof Api['POST']>(path: Path, body?: object): Promise<Api['POST'][Path]> {
    return this.#request('POST', path, body)
  }

  delete<Path extends keyof Api['DELETE']>(path: Path, name: string): Promise<Api['DELETE'][Path]> {
    // URLs resolve these to another path, even if they are percent-encoded.
    if (/^\.{0,2}$/.test(name)) throw new UsageError(`${JSON.stringify(name)} is not a name`)
    return this.#request('DELETE', `${path}/${encodeURIComponent(name)}`)
  }

  async #request<Answer>(method: string, path: string, body?: object): Promise<Answer> {
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
    throw this.#errorOf(status, answer)
  }

  #errorOf(status: number, answer: unknown): Error {
    const { token } = this.#address
    const [error] = (answer as Partial<ProblemAnswer> | undefined)?.errors ?? []
    if (error?.message === undefined)
      return new AdminApiError(status, `${this.url} is not the admin listener of a mirror (${status})`)
    if (status === 401) {
      const advice =
        token === undefined ? 'needs a token: $ENTREPOT_ADMIN_TOKEN or --token' : 'does not accept this token'
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

/** The reason for undici's `fetch failed`, which is in its cause: one error, or one for each address. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: { code?: string; message?: string; errors?: readonly { code?: string }[] } }
  const code = cause?.code ?? cause?.errors?.[0]?.code
  return reasons.get(code ?? '') ?? (cause?.message || (error instanceof Error ? error.message : String(error)))
}
