import type { Router } from '@koa/router'
import { type Pin, parsePin } from '../oci/pin.ts'
import type { AdminActions } from './actions.ts'
import type { AdminApi } from './answers.ts'
import { acceptNoBody, readTexts } from './body.ts'
import { AdminError, quoted } from './error.ts'
import { withLibrary } from './names.ts'
import { acceptQuery } from './query.ts'

/** Routes for pins: patterns of images that eviction keeps. */
export function addPinRoutes(router: Router, { pins }: Pick<AdminActions, 'pins'>): void {
  router.get('/api/pins', acceptQuery(), async (ctx) => {
    ctx.body = { pins: (await pins.list()).map(({ pattern }) => pattern) } satisfies AdminApi['GET']['pins']
  })
  router.post('/api/pins', acceptQuery(), async (ctx) => {
    const pin = parsed((await readTexts(ctx, 'pattern')).pattern)
    // A name without a `*` must match something cached; images that are not cached yet are pinned by a pattern.
    if (pin.isExact && !(await pins.isMatched(pin))) {
      const hint = 'a pattern with a * may be pinned before anything matches it'
      throw new AdminError('NOT_CACHED', `nothing is cached of ${quoted(pin.pattern)}; ${hint}`)
    }
    ctx.status = (await pins.add(pin)) ? 201 : 200
    ctx.body = { pattern: pin.pattern } satisfies AdminApi['POST']['pins']
  })
  router.delete('/api/pins/*pattern', acceptQuery(), acceptNoBody(), async (ctx) => {
    const pin = parsed(ctx.params['pattern'] ?? '')
    if (!(await pins.delete(pin))) throw new AdminError('NOT_CACHED', `${quoted(pin.pattern)} is not pinned`)
    ctx.body = { pattern: pin.pattern } satisfies AdminApi['DELETE']['pins']
  })
}

function parsed(text: string): Pin {
  const pin = parsePin(withLibrary(text))
  if (pin) return pin
  const examples = 'docker.io/library/alpine:3.20, docker.io/library/alpine or ghcr.io/org/*:v1.*'
  throw new AdminError('INVALID', `${quoted(text)} is neither an image nor a pattern of images, such as ${examples}`)
}
