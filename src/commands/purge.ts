import type { PurgeReport } from '../cache/upkeep/purge.ts'
import { AdminApiError, AdminClient } from './admin-client.ts'
import { adminOptions, type Command } from './command.ts'
import { bytes } from './figures.ts'
import { table } from './table.ts'

export const purgeCommand: Command = {
  summary: 'Remove images from a running mirror; the next pull fetches them again',
  options: adminOptions,
  args: {
    shown: 'NAME…',
    min: 1,
    about:
      'an image (docker.io/library/alpine:3.20), a repository (docker.io/library/alpine), an upstream (docker.io) or a digest',
  },
  async run(invocation) {
    const { args, flags, terminal } = invocation
    const client = await AdminClient.from(invocation)
    const done: (PurgeReport & { readonly name: string })[] = []
    let failed = false
    for (const name of args) {
      try {
        done.push({ name, ...(await client.delete(collectionOf(name), name)) })
      } catch (error) {
        // Go on with the other names.
        if (!(error instanceof AdminApiError) || error.status !== 404) throw error
        terminal.err(`entrepot: ${error.message}\n`)
        failed = true
      }
    }
    if (flags['json']) terminal.out(`${JSON.stringify(done)}\n`)
    else if (done.length > 0) terminal.out(shown(done))
    return failed ? 1 : 0
  },
}

/** An image is a name with a slash and, after the last slash, a colon. */
function collectionOf(name: string): 'blobs' | 'images' | 'repositories' {
  if (/^sha\d+:/.test(name)) return 'blobs'
  const isImage = name.includes('@') || (name.includes('/') && name.lastIndexOf(':') > name.lastIndexOf('/'))
  return isImage ? 'images' : 'repositories'
}

function shown(done: readonly (PurgeReport & { readonly name: string })[]): string {
  const columns = [
    { title: 'PURGED' },
    { title: 'TAGS', align: 'right' },
    { title: 'BLOBS', align: 'right' },
    { title: 'BYTES', align: 'right' },
  ] as const
  const rows = done.map((each) => [each.name, `${each.tags}`, `${each.blobs}`, bytes(each.bytes)])
  return table(columns, rows)
}
