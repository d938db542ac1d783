import { setTimeout as sleep } from 'node:timers/promises'
import type { ScrubReport } from '../cache/observer.ts'
import { AdminClient } from './admin-client.ts'
import { adminOptions, type Command, type ExitStatus, type Invocation, type Terminal } from './command.ts'
import { count, counted } from './figures.ts'
import { ProgressBar } from './progress-bar.ts'

/** Milliseconds between two requests. */
const interval = 250

export const scrubCommand: Command = {
  summary: 'Compare everything that a running mirror has stored with its digests, and have what is damaged replaced',
  options: {
    ...adminOptions,
    status: { type: 'boolean', about: 'only say how far it is, or what the last one found' },
  },
  async run(invocation) {
    const { flags, terminal } = invocation
    const client = await AdminClient.from(invocation)
    if (flags['status']) {
      const scrub = await client.get('scrub')
      return print(invocation, scrub, statusOf(scrub))
    }
    const { storage } = await client.get('stats')
    let scrub = await client.post('scrub')
    const quiet: Terminal = { ...terminal, live: false, out: () => undefined }
    const progress = new ProgressBar(flags['json'] ? quiet : terminal, interval)
    while (scrub.state === 'running') {
      progress.update(scrub.checked / Math.max(1, storage.blobs), advance(scrub, storage.blobs))
      await sleep(interval)
      scrub = await client.get('scrub')
    }
    progress.clear()
    return print(invocation, scrub, found(scrub))
  },
}

/** The command fails if some damage could not be repaired. */
function print({ flags, terminal }: Invocation, scrub: ScrubReport, text: string): ExitStatus {
  terminal.out(flags['json'] ? `${JSON.stringify(scrub)}\n` : `${text}\n`)
  return scrub.damaged > scrub.repaired ? 1 : 0
}

function statusOf(scrub: ScrubReport): string {
  if (scrub.state === 'running') return `a scrub is under way: ${found(scrub)}`
  if (scrub.finishedAt === null) return 'nothing has been scrubbed since the start'
  return `${found(scrub)}, at ${new Date(scrub.finishedAt).toISOString()}`
}

function advance(scrub: ScrubReport, blobs: number): string {
  return `${count(scrub.checked)} of ${counted(blobs, 'blob')}, ${count(scrub.damaged)} damaged`
}

function found({ checked, damaged, repaired }: ScrubReport): string {
  return `${counted(checked, 'blob')} checked, ${count(damaged)} damaged, ${count(repaired)} replaced`
}
