import type { PinAnswer } from '../admin/answers.ts'
import { AdminClient } from './admin-client.ts'
import { adminOptions, type Command, type Invocation } from './command.ts'

const patterns = 'images (docker.io/library/alpine:3.20), repositories, or patterns with a * (ghcr.io/org/*:v1.*)'

export const pinCommand: Command = {
  summary: 'Pin images, so that they are never evicted; or list the pins',
  options: adminOptions,
  args: { shown: '[PATTERN…]', about: `${patterns}; none to list what is pinned` },
  async run(invocation) {
    const client = await AdminClient.from(invocation)
    if (invocation.args.length === 0) {
      const { pins } = await client.get('pins')
      return print(invocation, pins, (pattern) => pattern)
    }
    const pinned = await each(invocation.args, (pattern) => client.post('pins', { pattern }))
    return print(invocation, pinned, (pattern) => `pinned ${pattern}`)
  },
}

export const unpinCommand: Command = {
  summary: 'Unpin images',
  options: adminOptions,
  args: { shown: 'PATTERN…', min: 1, about: 'as they were pinned' },
  async run(invocation) {
    const client = await AdminClient.from(invocation)
    const unpinned = await each(invocation.args, (pattern) => client.delete('pins', pattern))
    return print(invocation, unpinned, (pattern) => `unpinned ${pattern}`)
  },
}

/** One after the other. The first failure ends it. */
async function each(args: readonly string[], act: (pattern: string) => Promise<PinAnswer>): Promise<readonly string[]> {
  const done: string[] = []
  for (const pattern of args) done.push((await act(pattern)).pattern)
  return done
}

function print({ flags, terminal }: Invocation, done: readonly string[], line: (pattern: string) => string): 0 {
  if (flags['json']) terminal.out(`${JSON.stringify(done)}\n`)
  else for (const pattern of done) terminal.out(`${line(pattern)}\n`)
  return 0
}
