import { Router } from '@koa/router'
import type { ParameterizedContext } from 'koa'
import { namedRoute, parseTarget, type Resource, type Route, type Routing } from './route.ts'

/** Answers a request for a route. */
export type ServeRoute<State> = (context: ParameterizedContext<State>, route: Route) => Promise<void>

const none: Route = { kind: 'none' }

/**
 * The routes of the registry API (distribution-spec, "Endpoints"), for every method, so that other methods than GET and
 * HEAD are refused by name. The name is a wildcard that takes as much as it can, since it has any number of segments and
 * may itself contain `manifests`.
 */
export function registryRoutes<State>(
  routing: Routing,
  serve: ServeRoute<State>,
): (context: ParameterizedContext<State>) => Promise<void> {
  const router = new Router<State>({ strict: true, sensitive: true })
  // A prefix before `v2` may be there and says nothing.
  router.all('{*prefix}/v2{/}', (context, next) =>
    hasVersion(context.captures) ? next() : serve(context, { kind: 'ping' }),
  )
  const resource = (kind: Resource, path: string): void => {
    router.all(path, (context) => {
      // Not `params`: they are decoded as a whole, and an encoded slash would look like a slash.
      const [name = '', reference = 'list'] = context.captures ?? []
      const { query } = parseTarget(context.req.url ?? '')
      return serve(context, namedRoute(kind, { name, reference, query }, routing) ?? none)
    })
  }
  resource('manifests', '/*name/manifests/:reference')
  resource('blobs', '/*name/blobs/:digest')
  resource('referrers', '/*name/referrers/:digest')
  resource('tags', '/*name/tags/list')
  const dispatch = router.routes()
  return async (context) => {
    const { path } = parseTarget(context.req.url ?? '')
    if (!path.startsWith(`${routing.basePath}/`)) return serve(context, none)
    // For the router. koa's own property throws where a target in absolute form has no valid host.
    Object.defineProperty(context, 'path', { value: path.slice(routing.basePath.length) })
    await dispatch(context as Parameters<typeof dispatch>[0], () => serve(context, none))
  }
}

/** The first `v2` counts. */
function hasVersion(captures: readonly (string | undefined)[] | undefined): boolean {
  return captures?.some((prefix) => prefix?.split('/').includes('v2')) ?? false
}
