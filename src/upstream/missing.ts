import { LRUCache } from 'lru-cache'
import { UpstreamError } from '../oci/error.ts'
import { withTimeLimit } from '../oci/time-limit.ts'
import { readDecoded } from './content-coding.ts'
import { faultError, type Head, isRegistry, judgeMissing, namesApi } from './judge.ts'
import type { UpstreamResponse } from './registry-client.ts'
import type { Response } from './transfer/response.ts'
import { type Transport, userAgent } from './transfer/transport.ts'

export interface MissingOptions {
  readonly upstream: string
  readonly transport: Transport
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Milliseconds for which it is believed that a host is a registry, or is none. */
const believedFor = 10_000

/** Of the body of a 404, in bytes: an error of a registry is a few hundred. */
const longest = 64 * 1024

/** Whether a 404 is a registry's own: by its body, or else by how its host answers `/v2/` now. */
export class MissingJudge {
  readonly #options: MissingOptions
  /** By the address of `/v2/`. */
  readonly #hosts: LRUCache<string, Promise<boolean>>

  constructor(options: MissingOptions) {
    this.#options = options
    this.#hosts = new LRUCache({ max: 64, ttl: believedFor, ttlResolution: 0, perf: { now: options.now } })
  }

  /** Returns where a 404 to a GET is absence. Rejects with UpstreamError where it is not; `asked` is the request, in words. */
  async confirm(answer: UpstreamResponse, asked: string, signal: AbortSignal): Promise<void> {
    const { upstream } = this.#options
    const { headers, api, status } = answer
    if (api === undefined) {
      answer.body.discard()
      throw new UpstreamError(upstream, 'unavailable', `${asked}: 404 from the storage behind it`, { status })
    }
    const verdict = judgeMissing(headers, await this.#read(answer, asked))
    if (verdict === 'absent') return
    if (verdict !== 'ask') throw faultError(upstream, asked, verdict)
    if (await this.#isRegistry(api, signal)) return
    const what = `404 that names no error, from a host whose /v2/ is no registry's now`
    throw new UpstreamError(upstream, 'unavailable', `${asked}: ${what}`, { status })
  }

  /** Whether the 404 to a HEAD, which has no body, is a registry's own. */
  async isOwn({ headers, api }: Head & { readonly api: URL | undefined }, signal: AbortSignal): Promise<boolean> {
    if (api === undefined) return false
    return namesApi(headers) || (await this.#isRegistry(api, signal))
  }

  async #read(answer: UpstreamResponse, asked: string): Promise<Buffer> {
    try {
      return await readDecoded(answer, longest, { upstream: this.#options.upstream, asked })
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.kind !== 'protocol') throw error
      const what = `${asked}: 404 with a body that is no registry's`
      throw new UpstreamError(this.#options.upstream, 'unavailable', what, { cause: error, status: 404 })
    }
  }

  /** One question at a time for each host. It goes on when one of those who wait for it leaves. */
  #isRegistry(api: URL, signal: AbortSignal): Promise<boolean> {
    const known = this.#hosts.get(api.href)
    const asked = known ?? this.#ask(api)
    if (!known) this.#hosts.set(api.href, asked)
    return withTimeLimit({ signal }, () => asked)
  }

  async #ask(url: URL): Promise<boolean> {
    const { transport } = this.#options
    const { signal } = new AbortController()
    const headers = { 'user-agent': userAgent }
    let response: Response
    try {
      response = await transport.send({ method: 'GET', url, headers, signal })
    } catch (error) {
      if (error instanceof UpstreamError) return false
      throw error
    }
    response.body.discard()
    return isRegistry(response)
  }
}
