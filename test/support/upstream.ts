import type { IncomingMessage, ServerResponse } from 'node:http'
import { Access, repositoriesOf } from './access.ts'
import { type Answer, prepare, redirect } from './answer.ts'
import type { Behaviour } from './behaviour.ts'
import { Cdn } from './cdn.ts'
import type { Certificate } from './certificate.ts'
import { type FaultHandle, Faults } from './fault.ts'
import { Listener } from './listener.ts'
import { combine, dockerHub, ghcr, type Preset, quay, registryK8s, registryK8sTarget } from './presets.ts'
import { RateLimit } from './rate-limit.ts'
import { Registry } from './registry.ts'
import { type OpenRequest, type RecordedRequest, type RequestFilter, RequestLog } from './request-log.ts'
import { type Origin, type Route, routeOf } from './route.ts'
import { send } from './send.ts'
import { Stock } from './stock.ts'

export interface UpstreamOptions extends Preset {
  /** registry.k8s.io: everything but /v2/ is redirected there, the query dropped; content added here lands there. */
  readonly manifestRedirect?: TestUpstream
  /** Both origins speak TLS, and nothing else. */
  readonly identity?: Certificate
  /** Decides for every request how its answer goes wrong; a fault that applies is laid over it. */
  readonly behave?: (request: RecordedRequest, answer: Answer) => Behaviour
}

/** A registry on the loopback that counts what it is asked and fails as it is told. */
export class TestUpstream extends Stock implements AsyncDisposable {
  readonly #log = new RequestLog()
  readonly #faults: Faults
  readonly #options: UpstreamOptions
  readonly #access: Access
  readonly #cdn: Cdn | undefined
  readonly #rateLimit: RateLimit | undefined
  readonly #registry: Registry
  readonly #listener: Listener
  readonly #cdnListener: Listener
  readonly #owned: TestUpstream[] = []
  readonly #bugs: unknown[] = []
  #hanging: Origin | 'all' | undefined

  private constructor(options: UpstreamOptions) {
    const { name = '127.0.0.1', cdn, manifestRedirect, redirectPrefix = '' } = options
    super(manifestRedirect && { stock: manifestRedirect, prefix: redirectPrefix })
    this.#options = options
    this.#faults = new Faults(options.quirks ?? [])
    const { identity } = options
    this.#listener = new Listener(name, (request, response) => this.#receive('registry', request, response), identity)
    this.#cdnListener = new Listener(
      name === 'localhost' ? '127.0.0.1' : 'localhost',
      (request, response) => this.#receive('cdn', request, response),
      identity,
    )
    this.#access = new Access(options.auth, this.content, () => this.#realm())
    this.#cdn = cdn && new Cdn(cdn === true ? {} : cdn, () => this.#cdnListener.url)
    this.#rateLimit = options.rateLimit && new RateLimit(options.rateLimit)
    this.#registry = new Registry(options, {
      content: this.content,
      access: this.#access,
      cdn: this.#cdn,
      rateLimit: this.#rateLimit,
      elsewhere: manifestRedirect && (({ path }) => elsewhere(manifestRedirect, redirectPrefix, path)),
    })
  }

  static async start(options: UpstreamOptions = {}): Promise<TestUpstream> {
    const upstream = new TestUpstream(options)
    await upstream.restart()
    return upstream
  }

  static dockerHub(options: UpstreamOptions = {}): Promise<TestUpstream> {
    return TestUpstream.start(combine(dockerHub, options))
  }

  static ghcr(options: UpstreamOptions = {}): Promise<TestUpstream> {
    return TestUpstream.start(combine(ghcr, options))
  }

  static quay(options: UpstreamOptions = {}): Promise<TestUpstream> {
    return TestUpstream.start(combine(quay, options))
  }

  /** The front; `target` is the registry that it sends everything to. */
  static async registryK8s(options: UpstreamOptions = {}): Promise<TestUpstream> {
    const target = await TestUpstream.start(registryK8sTarget)
    const front = await TestUpstream.start(combine({ ...registryK8s, manifestRedirect: target }, options))
    front.#owned.push(target)
    return front
  }

  get url(): string {
    return this.#listener.url
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return this.#listener.host
  }

  /** The second origin: the CDN, and the token service where that is elsewhere. */
  get cdnUrl(): string {
    return this.#cdnListener.url
  }

  /** How many clients have made: to it, and to the second origin. */
  get connections(): readonly [number, number] {
    return [this.#listener.connections, this.#cdnListener.connections]
  }

  /** Where it redirects everything. */
  get target(): TestUpstream | undefined {
    return this.#options.manifestRedirect
  }

  get requests(): readonly RecordedRequest[] {
    return this.#log.requests
  }

  /** Tokens given out and still good. */
  get liveTokens(): number {
    return this.#access.liveTokens
  }

  count(filter: RequestFilter = {}): number {
    return this.#log.count(filter)
  }

  /** Body bytes sent. */
  bytes(filter: RequestFilter = {}): number {
    return this.#log.bytes(filter)
  }

  /** Clears the log; faults and content stay. */
  reset(): void {
    this.#log.reset()
  }

  fault(match: RequestFilter, behaviour: Behaviour): FaultHandle {
    return this.#faults.add(match, behaviour)
  }

  clearFaults(): void {
    this.#faults.clear()
  }

  expireTokens(): void {
    this.#access.expireTokens()
  }

  expireSignatures(): void {
    this.#cdn?.expireSignatures()
  }

  resetRateLimit(): void {
    this.#rateLimit?.reset()
  }

  /** Connections are cut, new ones refused. */
  async stop(which: Origin | 'all' = 'all'): Promise<void> {
    if (which !== 'cdn') await this.#listener.stop()
    if (which !== 'registry') await this.#cdnListener.stop()
  }

  /** Ends a `stop` or `hang`; on the same ports. */
  async restart(): Promise<void> {
    this.#hanging = undefined
    await this.#listener.start()
    if (this.#hasOtherOrigin()) await this.#cdnListener.start()
  }

  /** Each origin takes so many connections at a time and closes those beyond; infinity for no limit. */
  limitConnections(connections: number): void {
    this.#listener.limit(connections)
    this.#cdnListener.limit(connections)
  }

  /** From now on requests are taken and never answered; those under way go on. */
  hang(which: Origin | 'all' = 'all'): void {
    this.#hanging = which
  }

  /** Throws what went wrong in here, as opposed to what was made to go wrong. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    for (const upstream of this.#owned) await upstream[Symbol.asyncDispose]()
    if (this.#bugs.length > 0) throw new AggregateError(this.#bugs, 'the test upstream failed')
  }

  #realm(): string {
    const { auth } = this.#options
    const realm = auth?.kind === 'bearer' ? auth.realm : undefined
    if (realm === 'elsewhere') return `${this.cdnUrl}/token`
    return realm === undefined || realm === 'self' ? `${this.url}/token` : realm
  }

  #hasOtherOrigin(): boolean {
    const { auth, cdn } = this.#options
    return cdn !== undefined || (auth?.kind === 'bearer' && auth.realm === 'elsewhere')
  }

  #receive(origin: Origin, request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    const route = routeOf(origin, request.url ?? '/')
    const record = this.#record(request, route)
    this.#log.add(record)
    const hangs = this.#hanging === 'all' || this.#hanging === origin
    const answered = hangs
      ? send(nowhere, response, { instead: 'silence' }, record)
      : this.#answer(request, response, route, record)
    answered.catch((error: unknown) => {
      this.#bugs.push(error)
      response.destroy()
    })
  }

  async #answer(request: IncomingMessage, response: ServerResponse, route: Route, record: OpenRequest): Promise<void> {
    const answer = this.#registry.answer(request, route, record.user)
    const fault = this.#faults.take({ ...record, status: answer.status }, answer)
    const behaviour = { ...this.#options.behave?.(record, answer), ...fault }
    const { 'if-range': ifRange, 'accept-encoding': acceptEncoding } = request.headers
    const question = {
      method: record.method,
      range: record.range,
      ifRange: ifRange as string | undefined,
      acceptEncoding,
    }
    await send(prepare(answer, question, behaviour), response, behaviour, record)
  }

  #record(request: IncomingMessage, route: Route): OpenRequest {
    const named = route.kind === 'token' ? repositoriesOf(route.query)[0] : route.repository
    return {
      kind: route.kind,
      method: request.method ?? '',
      path: route.path,
      query: (request.url ?? '').split('?')[1] ?? '',
      repository: named,
      reference: route.reference,
      range: request.headers.range,
      headers: request.headers,
      ...this.#access.identify(request),
      status: 0,
      bytesSent: 0,
      state: 'open',
    }
  }
}

const nowhere: Answer = redirect(500, '')

function elsewhere(target: TestUpstream, prefix: string, path: string): Answer {
  return redirect(307, `${target.url}/v2/${prefix}${path.slice('/v2/'.length)}`)
}
