import type { ImagesAnswer } from '../admin/answers.ts'
import type { CachedImage } from '../cache/upkeep/images.ts'
import { AdminClient } from './admin-client.ts'
import { adminOptions, type Command } from './command.ts'
import { bytes, minute } from './figures.ts'
import { table } from './table.ts'

export const imagesCommand: Command = {
  summary: 'List what a running mirror has cached',
  options: adminOptions,
  args: { shown: '[PREFIX]', max: 1, about: 'how the repositories begin, such as docker.io/library/' },
  async run(invocation) {
    const { args, flags, terminal } = invocation
    const client = await AdminClient.from(invocation)
    const images: CachedImage[] = []
    for (let after: string | null = ''; after !== null; ) {
      const page: ImagesAnswer = await client.get('images', query(args[0], after))
      images.push(...page.images)
      after = page.next
    }
    if (flags['json']) terminal.out(`${JSON.stringify(images)}\n`)
    else terminal.out(images.length === 0 ? 'nothing is cached\n' : shown(images))
    return 0
  },
}

function query(prefix: string | undefined, after: string): URLSearchParams {
  return new URLSearchParams({
    limit: '1000',
    ...(prefix !== undefined && { repository: prefix }),
    ...(after !== '' && { after }),
  })
}

function shown(images: readonly CachedImage[]): string {
  const columns = [
    { title: 'IMAGE' },
    { title: 'DIGEST' },
    { title: 'PLATFORMS' },
    { title: 'SIZE', align: 'right' },
    { title: 'UNIQUE', align: 'right' },
    { title: 'LAST USED' },
    { title: 'PINNED' },
  ] as const
  const rows = images.map(({ repository, tag, digest, platforms, size, unique, lastUsed, pinned }) => [
    `${repository}:${tag}`,
    digest.slice(digest.indexOf(':') + 1).slice(0, 12),
    platformsOf(platforms),
    bytes(size),
    bytes(unique),
    minute(lastUsed),
    pinned ? 'yes' : '',
  ])
  return table(columns, rows)
}

/** `linux/amd64 (of 8)`: the cached platforms, and how many there are. */
function platformsOf(platforms: CachedImage['platforms']): string {
  const cached = platforms.filter((each) => each.cached).map(({ platform }) => platform)
  const names = cached.length > 2 ? `${cached.slice(0, 2).join(' ')} +${cached.length - 2}` : cached.join(' ') || '-'
  return platforms.length > cached.length ? `${names} (of ${platforms.length})` : names
}
