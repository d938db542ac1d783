import { AdminClient } from './admin-client.ts'
import { adminOptions, type Command } from './command.ts'
import { bytes, counted } from './figures.ts'

export const evictCommand: Command = {
  summary: 'Evict now what exceeds the bound of a running mirror, or has been idle for too long',
  options: adminOptions,
  async run(invocation) {
    const { flags, terminal } = invocation
    const client = await AdminClient.from(invocation)
    const evicted = await client.post('evict')
    if (flags['json']) terminal.out(`${JSON.stringify(evicted)}\n`)
    else if (evicted.blobs === 0) terminal.out('nothing had to go\n')
    else terminal.out(`evicted ${counted(evicted.blobs, 'blob')}, ${bytes(evicted.bytes)}\n`)
    return 0
  },
}
