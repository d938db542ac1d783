import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { AdminActions } from '../../../src/admin/actions.ts'
import { type AdminOptions, createAdminApp } from '../../../src/admin/app.ts'
import { Events } from '../../../src/admin/events.ts'
import type { AdminSources } from '../../../src/admin/sources.ts'
import { Counters } from '../../../src/telemetry/counters.ts'
import { createMetrics } from '../../../src/telemetry/metrics.ts'
import { memoryLog } from '../../telemetry/support/memory-log.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Parsed; undefined where it is no JSON. */
  readonly json: unknown
}

export interface Question {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
}

export interface Admin extends AsyncDisposable {
  readonly counters: Counters
  readonly port: number
  ask(path: string, question?: Question): Promise<Answer>
  logLines(): Promise<Record<string, unknown>[]>
}

export const calmSources: AdminSources = {
  readiness: () => 'ready',
  degraded: () => [],
  upstreams: () => [],
  usage: async () => ({ bytes: 0, blobs: 0, maxBytes: 0 }),
  fills: () => [],
  evictions: () => 0,
  disk: async () => undefined,
  scrub: () => emptyActions.scrub.status,
  series: () => ({ hour: [], day: [] }),
  probe: () => 'entrepot/probe:nonce',
}

/** A cache with nothing in it and nothing to do. */
export const emptyActions: AdminActions = {
  images: { list: async () => ({ images: [], next: undefined }) },
  pins: { list: async () => [], isMatched: async () => false, add: async () => true, delete: async () => false },
  purge: {
    image: async () => undefined,
    repository: async () => undefined,
    upstream: async () => undefined,
    digest: async () => undefined,
  },
  eviction: { isRunning: false, run: async () => ({ blobs: 0, bytes: 0 }) },
  scrub: {
    status: { state: 'idle', checked: 0, damaged: 0, repaired: 0, finishedAt: null },
    run: async () => true,
  },
}

/** The admin app on a port of its own. */
export async function startAdmin(options: Partial<AdminOptions> & { listen?: string } = {}): Promise<Admin> {
  const { log, lines } = memoryLog()
  const counters = options.counters ?? new Counters(['docker.io', 'ghcr.io'])
  const sources = options.sources ?? calmSources
  const app = createAdminApp({
    token: undefined,
    boundHost: '127.0.0.1',
    hosts: [],
    now: () => 0,
    actions: emptyActions,
    events: new Events({ upstreams: () => sources.upstreams(), now: () => 0 }),
    metrics: createMetrics({ counters, sources, log, version: '0.0.0' }),
    ...options,
    counters,
    sources,
    log,
  })
  const server = createServer(app.callback()).listen(0, options.listen ?? '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    counters,
    port,
    ask: (path, question) => ask(port, path, question),
    logLines: lines,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** Unlike `fetch`, free in its choice of `Host` and method. */
async function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body: sent }: Question = {},
): Promise<Answer> {
  const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent: false }).end(sent)
  const [response] = await once(outgoing, 'response')
  const body = await text(response)
  const isJson = body !== '' && String(response.headers['content-type']).startsWith('application/json')
  return {
    status: response.statusCode,
    headers: response.headers,
    text: body,
    json: isJson ? JSON.parse(body) : undefined,
  }
}
