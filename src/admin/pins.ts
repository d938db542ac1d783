import type { Router } from '@koa/router'
import { type Pin, parsePin } from '../cache/upkeep/pin.ts'
import type { AdminActions } from './actions.ts'
import { acceptNoBody, readTexts } from './body.ts'
import { AdminError, quoted } from './error.ts'
import { withLibrary } from './names.ts'
import { acceptQuery } from './query.ts'

/** What stays, whatever happens. */
export function addPinRoutes(router: Router, { pins }: Pick<AdminActions, 'pins'>): void {
  router.get('/api/pins', acceptQuery(), async (ctx) => {
    ctx.body = { pins: (await pins.list()).map(({ pattern }) => pattern) }
  })
  router.post('/api/pins', acceptQuery(), async (ctx) => {
    const pin = parsed((await readTexts(ctx, 'pattern')).pattern)
    // A name without a `*` means something that is there; what is yet to come is pinned by a pattern.
    if (pin.isExact && !(await pins.isMatched(pin))) {
      const hint = 'a pattern with a * may be pinned before anything matches it'
      throw new AdminError('NOT_CACHED', `nothing is cached of ${quoted(pin.pattern)}; ${hint}`)
    }
    ctx.status = (await pins.add(pin)) ? 201 : 200
    ctx.body = { pattern: pin.pattern }
  })
  router.delete('/api/pins/*pattern', acceptQuery(), acceptNoBody(), async (ctx) => {
    const pin = parsed(ctx.params['pattern'] ?? '')
    if (!(await pins.delete(pin))) throw new AdminError('NOT_CACHED', `${quoted(pin.pattern)} is not pinned`)
    ctx.body = { pattern: pin.pattern }
  })
}

function parsed(text: string): Pin {
  const pin = parsePin(withLibrary(text))
  if (pin) return pin
  const examples = 'docker.io/library/alpine:3.20, docker.io/library/alpine or ghcr.io/org/*:v1.*'
  throw new AdminError('INVALID', `${quoted(text)} is neither an image nor a pattern of them, such as ${examples}`)
}
