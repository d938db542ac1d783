import type { IncomingMessage, ServerResponse } from 'node:http'
import Koa from 'koa'
import type { Mirror } from '../cache/mirror.ts'
import { probeName } from '../cache/probe.ts'
import type { RequestReport } from '../telemetry/request-report.ts'
import { type Answer, Answers } from './answers.ts'
import { Exchange } from './exchange.ts'
import { ResponseCache } from './fast/response-cache.ts'
import { KnownRoutes } from './known-routes.ts'
import { type RegistryRequest, readRequest } from './request.ts'
import { RequestIds } from './request-ids.ts'
import { refuse, respond } from './respond.ts'
import type { Routing } from './route.ts'
import { registryRoutes } from './routes.ts'
import { type Handler, keepAlive } from './server.ts'

export interface AppOptions {
  readonly mirror: Mirror
  readonly routing: Routing
  readonly report: RequestReport
  readonly now: () => number
  /** Milliseconds a client may go without taking a byte. */
  readonly clientTimeout: number
}

export interface App {
  /** Answers requests that node:http has parsed. */
  readonly handler: Handler
  /** Answers some of them by the text of their head. */
  readonly responses: ResponseCache
}

interface Hit {
  readonly request: RegistryRequest
  readonly answer: Answer
}

/** Of one request, for koa's middleware. */
interface RegistryState {
  exchange: Exchange
}

/**
 * The registry API (distribution-spec, pull). A request whose target was read before, and whose answer needs no waiting, is
 * answered at once. Any other goes through koa, which routes it, waits for its answer, and turns errors into answers.
 */
export function createApp({ mirror, routing, report, now, clientTimeout }: AppOptions): App {
  const answers = new Answers({ mirror, now })
  const ids = new RequestIds()
  const responses = new ResponseCache({ answers, report, ids, now, keepAlive, clientTimeout })
  const routes = new KnownRoutes()

  const begin = (request: IncomingMessage, response: ServerResponse): Exchange =>
    new Exchange({ id: ids.next(), request, response, now })

  /** Answers with the error where there is one, and reports the exchange once its response is closed. */
  const finish = async (exchange: Exchange, answered: Promise<void>): Promise<void> => {
    await answered.catch((error: unknown) => refuse(exchange, error))
    await exchange.closed
    report.record(exchange.fields())
  }

  const serve = async (exchange: Exchange, { request, answer }: Hit): Promise<void> => {
    exchange.route = request.route
    if (answer.outcome) exchange.cacheAnswered(answer.outcome)
    await respond(exchange, answer, clientTimeout)
  }

  const koa = new Koa<RegistryState>()
  koa.silent = true
  koa.use(async (context, next) => {
    // The writer has the response.
    context.respond = false
    context.state.exchange = begin(context.req, context.res)
    await finish(context.state.exchange, next())
  })
  koa.use(
    registryRoutes<RegistryState>(routing, async ({ req: incoming, state: { exchange } }, route) => {
      exchange.route = route
      const request = readRequest(incoming, route)
      routes.set(incoming.url, route)
      const found = answers.answer(request)
      if (!(found instanceof Promise)) responses.remember(incoming, request, found)
      const answer = await found
      if (isProbe(request)) mirror.probed(request.route.target, exchange.client)
      await serve(exchange, { request, answer })
    }),
  )
  const throughKoa = koa.callback()

  /** Undefined where koa has to route or to wait, or where the answer is an error. */
  const tryHit = (incoming: IncomingMessage): Hit | undefined => {
    const route = routes.get(incoming.url)
    if (!route) return undefined
    try {
      const request = readRequest(incoming, route)
      const answer = answers.tryCached(request)
      return answer && { request, answer }
    } catch {
      return undefined
    }
  }

  const handler: Handler = (incoming, response) => {
    const hit = tryHit(incoming)
    if (!hit) return void throughKoa(incoming, response)
    responses.remember(incoming, hit.request, hit.answer)
    const exchange = begin(incoming, response)
    void finish(exchange, serve(exchange, hit))
  }
  return { handler, responses }
}

/** A client that gets the probe's tag uses the mirror. */
function isProbe(request: RegistryRequest): request is Extract<RegistryRequest, { kind: 'manifest' }> {
  return request.kind === 'manifest' && 'tag' in request.reference && request.route.target.name === probeName
}
