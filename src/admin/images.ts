import type { Router } from '@koa/router'
import type { PurgeReport } from '../cache/upkeep/purge.ts'
import type { AdminActions } from './actions.ts'
import type { AdminApi } from './answers.ts'
import { AdminError, quoted } from './error.ts'
import { parseImage, parsePurgeTarget, parseStoredDigest } from './names.ts'
import { acceptQuery, count, parameter } from './query.ts'

const perPage = { min: 1, max: 1000, fallback: 100 } as const

/** Routes that list what is cached, and purge it. */
export function addImageRoutes(router: Router, { images, purge }: Pick<AdminActions, 'images' | 'purge'>): void {
  router.get('/api/images', acceptQuery('repository', 'limit', 'after'), async (ctx) => {
    const after = parameter(ctx, 'after')
    const found = await images.list({
      prefix: prefixOf(parameter(ctx, 'repository') ?? ''),
      after: after === undefined ? undefined : parseImage(after),
      limit: count(ctx, 'limit', perPage),
    })
    const next = found.next && `${found.next.repository}:${found.next.tag}`
    ctx.body = { images: found.images, next: next ?? null } satisfies AdminApi['GET']['images']
  })
  router.delete('/api/images/*image', acceptQuery(), async (ctx) => {
    const { image = '' } = ctx.params
    const { repository, tag } = parseImage(image)
    ctx.body = reported(image, await purge.image(repository, tag))
  })
  router.delete('/api/repositories/*name', acceptQuery(), async (ctx) => {
    const { name = '' } = ctx.params
    const target = parsePurgeTarget(name)
    const purged = 'upstream' in target ? purge.upstream(target.upstream) : purge.repository(target.repository)
    ctx.body = reported(name, await purged)
  })
  router.delete('/api/blobs/:digest', acceptQuery(), async (ctx) => {
    const { digest = '' } = ctx.params
    ctx.body = reported(digest, await purge.digest(parseStoredDigest(digest)))
  })
}

function reported(name: string, report: PurgeReport | undefined): PurgeReport {
  if (!report) throw new AdminError('NOT_CACHED', `nothing is cached of ${quoted(name)}`)
  return report
}

function prefixOf(text: string): string {
  if (/^[a-z0-9._:/-]{0,255}$/.test(text)) return text
  throw new AdminError('INVALID', `${quoted(text)} is not the start of a repository name, such as docker.io/library/`)
}
