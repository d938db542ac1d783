import { AdminApiError, AdminClient } from './admin-client.ts'
import { adminOptions, type Command } from './command.ts'
import { bytes } from './figures.ts'
import { table } from './table.ts'

interface Purged {
  readonly tags: number
  readonly blobs: number
  readonly bytes: number
}

export const purgeCommand: Command = {
  summary: 'Make a running mirror forget images; the next pull fetches them anew',
  options: adminOptions,
  args: {
    shown: 'NAME…',
    least: 1,
    about:
      'an image (docker.io/library/alpine:3.20), a repository (docker.io/library/alpine), an upstream (docker.io) or a digest',
  },
  async run(invocation) {
    const { args, flags, terminal } = invocation
    const client = await AdminClient.from(invocation)
    const done: (Purged & { readonly name: string })[] = []
    let failed = false
    for (const name of args) {
      try {
        const { tags, blobs, bytes } = await client.delete<Purged>(collectionOf(name), name)
        done.push({ name, tags, blobs, bytes })
      } catch (error) {
        // The others may go all the same.
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

/** What it is shows in how it is written: only an image has a colon behind its last slash, where it has a slash. */
function collectionOf(name: string): string {
  if (/^sha\d+:/.test(name)) return 'blobs'
  const isImage = name.includes('@') || (name.includes('/') && name.lastIndexOf(':') > name.lastIndexOf('/'))
  return isImage ? 'images' : 'repositories'
}

function shown(done: readonly (Purged & { readonly name: string })[]): string {
  const columns = [
    { title: 'PURGED' },
    { title: 'TAGS', align: 'right' },
    { title: 'BLOBS', align: 'right' },
    { title: 'BYTES', align: 'right' },
  ] as const
  const rows = done.map((each) => [each.name, `${each.tags}`, `${each.blobs}`, bytes(each.bytes)])
  return table(columns, rows)
}
