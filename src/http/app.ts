import type { IncomingMessage, ServerResponse } from 'node:http'
import Koa, { type Context } from 'koa'
import type { Mirror } from '../cache/mirror.ts'
import { RegistryError } from '../oci/error.ts'
import type { RequestReport } from '../telemetry/request-report.ts'
import { serveBlob } from './blobs.ts'
import { errorAnswer } from './errors.ts'
import { Exchange } from './exchange.ts'
import { Shortcut } from './fast/response-cache.ts'
import { HotPath, pong, sendHot, sendStored, version } from './hot-path.ts'
import { serveManifest } from './manifests.ts'
import { RequestIds } from './request-ids.ts'
import { parseRoute, type Routing } from './route.ts'
import { type Handler, keepAlive } from './server.ts'

export interface AppOptions {
  readonly mirror: Mirror
  readonly routing: Routing
  readonly report: RequestReport
  readonly now: () => number
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
}

/** The registry API (distribution-spec, pull). */
export function createApp(options: AppOptions): { handler: Handler; shortcut: Shortcut } {
  const { now, report, clientTimeout } = options
  const app = new Koa()
  const hotPath = new HotPath(options)
  const ids = new RequestIds()
  const shortcut = new Shortcut({ hotPath, report, ids, now, keepAlive, clientTimeout })
  const begin = (request: IncomingMessage, response: ServerResponse): Exchange =>
    new Exchange({ id: ids.next(), request, response, now })
  app.silent = true
  app.use(async (context) => {
    const exchange = begin(context.req, context.res)
    const answered = answerOrRefuse(context, exchange, options)
    // Both, in whichever order: a cut body's connection may close before it is known why.
    void Promise.all([answered, exchange.closed]).then(() => report.tell(exchange.fields()))
    await answered
  })
  const ordinary = app.callback()
  const handler: Handler = (request, response) => {
    const question = hotPath.question(request)
    if (!question) return void ordinary(request, response)
    const recalled = hotPath.recall(question)
    const stored = recalled ? undefined : hotPath.open(question, request.method)
    if (!recalled && !stored) return void ordinary(request, response)
    shortcut.learn(request, question)
    const exchange = begin(request, response)
    if (recalled) {
      void exchange.closed.then(() => report.tell(exchange.fields()))
      sendHot(request, response, exchange, { question, recalled, now: now() })
    } else if (stored) {
      const sent = sendStored(response, exchange, { question, stored, now: now(), clientTimeout })
      const answered = sent.catch((error: unknown) => {
        exchange.error = error
      })
      void Promise.all([answered, exchange.closed]).then(() => report.tell(exchange.fields()))
    }
  }
  return { handler, shortcut }
}

async function answerOrRefuse(context: Context, exchange: Exchange, options: AppOptions): Promise<void> {
  context.set(...version)
  context.set('X-Request-Id', exchange.id)
  try {
    await answer(context, exchange, options)
  } catch (error) {
    exchange.error = error
    if (context.respond !== false) refuse(context, error)
  }
  if (context.respond !== false && context.method !== 'HEAD') exchange.bytes = context.length ?? 0
}

async function answer(context: Context, exchange: Exchange, options: AppOptions): Promise<void> {
  const route = parseRoute(context.url, options.routing)
  exchange.route = route
  if (context.method !== 'GET' && context.method !== 'HEAD') {
    throw new RegistryError('UNSUPPORTED', { detail: 'this is a read-only mirror' })
  }
  if ('target' in route && route.namespace !== undefined) context.set('OCI-Namespace', route.namespace)
  switch (route.kind) {
    case 'ping':
      context.set('Content-Type', 'application/json')
      context.body = pong
      return
    case 'manifests':
      return serveManifest(context, exchange, route, options)
    case 'blobs':
      return serveBlob(context, exchange, route, options)
    case 'referrers':
      // Not NAME_UNKNOWN: after that oras does not look for the tags that stand in for this API.
      throw new RegistryError('MANIFEST_UNKNOWN', { detail: 'referrers are not listed here' })
    case 'tags':
      throw new RegistryError('NAME_UNKNOWN', { detail: 'tags are not listed here' })
    case 'none':
      throw new RegistryError('NAME_UNKNOWN', { detail: 'no such resource here' })
  }
}

function refuse(context: Context, error: unknown): void {
  const { status, headers, body } = errorAnswer(error)
  context.status = status
  context.set(headers)
  context.body = body
}
