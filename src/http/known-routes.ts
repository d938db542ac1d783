import type { Route } from './route.ts'

/** Longer targets are not remembered, nor more of them. */
const maxLength = 512
const maxRoutes = 8192

/** What request targets name that the router has read before. */
export class KnownRoutes {
  readonly #routes = new Map<string, Route>()

  get(target = ''): Route | undefined {
    return this.#routes.get(target)
  }

  set(target = '', route: Route): void {
    if (target.length > maxLength) return
    if (this.#routes.size >= maxRoutes) this.#routes.clear()
    this.#routes.set(target, route)
  }
}
