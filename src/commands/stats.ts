import type { StatsAnswer } from '../admin/answers.ts'
import { outcomes } from '../cache/observer.ts'
import { AdminClient } from './admin-client.ts'
import { adminOptions, type Command } from './command.ts'
import { bytes, count, counted, percent, span } from './figures.ts'
import { table } from './table.ts'

export const statsCommand: Command = {
  summary: 'Show what a running mirror has done, and what it holds',
  options: adminOptions,
  async run(invocation) {
    const { flags, terminal } = invocation
    const client = await AdminClient.from(invocation)
    const stats = await client.get('stats')
    terminal.out(flags['json'] ? `${JSON.stringify(stats)}\n` : shown(stats, client.url))
    return 0
  },
}

function shown(stats: StatsAnswer, url: string): string {
  const { served, fromUpstream, saved } = stats.bytes
  const { used, max, blobs } = stats.storage
  const room = max > 0 ? `${bytes(used)} of ${bytes(max)} (${percent(used / max)})` : bytes(used)
  const facts = [
    ['mirror', `${url}, up ${span(stats.uptime)}`],
    ['store', `${room} in ${counted(blobs, 'blob')}, ${count(stats.evictions)} evicted`],
    ['answers', `${percent(stats.hitRatio)} without the upstream's content`],
    ['traffic', `${bytes(served)} served, ${bytes(fromUpstream)} fetched, ${bytes(saved)} saved`],
    ['fills', `${count(stats.fills)} under way`],
    ['probe', stats.probe],
  ]
  const lines = facts.map(([name = '', fact]) => `${name.padEnd(9)}${fact}\n`).join('')
  return `${lines}\n${answers(stats)}\n${upstreams(stats)}`
}

function answers({ requests }: StatsAnswer): string {
  const columns = outcomes.map((title) => ({ title: title.toUpperCase(), align: 'right' as const }))
  const rows = Object.entries(requests).map(([kind, counts]) => [
    kind,
    ...outcomes.map((outcome) => count(counts[outcome])),
  ])
  return table([{ title: 'ANSWERS' }, ...columns], rows)
}

function upstreams({ upstreams }: StatsAnswer): string {
  const columns = [
    { title: 'UPSTREAM' },
    { title: 'STATE' },
    { title: 'REQUESTS', align: 'right' },
    { title: 'ERRORS', align: 'right' },
    { title: 'RATE LIMIT' },
  ] as const
  const rows = upstreams.map(({ name, state, requests, errors, rateLimit }) => [
    name,
    state,
    count(requests),
    count(errors),
    rateLimit
      ? `${count(rateLimit.remaining)} of ${count(rateLimit.limit)} left in ${span(rateLimit.window)}`
      : 'unknown',
  ])
  return table(columns, rows)
}
