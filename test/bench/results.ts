import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus, release, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { verdictOf } from './goal.ts'
import type { BenchOptions } from './options.ts'
import { find } from './programs.ts'
import type { Findings } from './scenario.ts'
import { DistributionBuild } from './servers/distribution-build.ts'
import { medianOf, type Samples } from './stats.ts'

export interface Results {
  readonly options: BenchOptions
  readonly results: readonly { readonly name: string; readonly findings: readonly Findings[] }[]
  readonly skipped: readonly { readonly name: string; readonly reason: string }[]
  readonly failed: readonly { readonly name: string; readonly reason: string }[]
}

/** Everything, every round included, for programs and for later comparison. */
export async function writeResults(path: string, { options, results, skipped, failed }: Results): Promise<void> {
  const document = {
    finishedAt: new Date().toISOString(),
    quick: options.quick,
    machine: machine(),
    versions: {
      node: process.version,
      nginx: said(find('nginx'), ['-v']),
      'docker-registry': said(find('docker-registry'), ['--version']),
      'distribution 3': said(new DistributionBuild().program, ['--version']),
    },
    scenarios: results.map(({ name, findings }) => ({ name, findings: findings.map(plain) })),
    skipped,
    failed,
  }
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, `${JSON.stringify(document, null, 2)}\n`)
}

function plain({ title, samples, goals, notes = [] }: Findings): object {
  return {
    title,
    goals: goals.map((goal) => ({ ...goal, verdict: verdictOf(goal) })),
    notes,
    medians: Object.fromEntries([...samples.keys()].map((name) => [name, mediansOf(samples, name)])),
    rounds: Object.fromEntries(samples),
  }
}

function mediansOf(samples: Samples, name: string): Record<string, number> {
  const columns = Object.keys(samples.get(name)?.[0] ?? {})
  return Object.fromEntries(columns.map((column) => [column, medianOf(samples, name, column)]))
}

function machine(): object {
  const processors = cpus()
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memory: totalmem(),
    kernel: release().split('-')[0],
  }
}

/** What a program says of its version; nginx says it on standard error. */
function said(path: string | undefined, args: readonly string[]): string | undefined {
  if (path === undefined) return undefined
  try {
    return execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', path, ...args], { encoding: 'utf8' })
      .trim()
      .split('\n')[0]
  } catch {
    return undefined
  }
}
