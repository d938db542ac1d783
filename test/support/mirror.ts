import { Writable } from 'node:stream'
import type { StatsAnswer } from '../../src/admin/answers.ts'
import { parseConfig } from '../../src/config/load.ts'
import { type RunningServer, serve } from '../../src/serve.ts'
import { tempDir } from './temp.ts'

export interface MirrorSettings {
  /** URLs by the name they are to be known under; the first is the default upstream. */
  readonly upstreams: Readonly<Record<string, string | Record<string, unknown>>>
  /** Laid over the configuration. */
  readonly config?: Readonly<Record<string, unknown>>
  /** A data folder to use and to leave; one of its own, removed at the end, unless given. */
  readonly path?: string
  /** Its clock, to be moved at will; the wall's, unless given. */
  readonly clock?: { readonly now: number }
}

export interface TestMirror extends AsyncDisposable {
  /** `http://127.0.0.1:1234`. */
  readonly url: string
  readonly adminUrl: string
  readonly path: string
  /** Log lines so far, parsed. */
  readonly log: readonly Record<string, unknown>[]
  stats(): Promise<StatsAnswer>
  stop(): Promise<void>
}

/** The real server, as `entrepot serve` builds it, on ports of its own. */
export async function startMirror({ upstreams, config = {}, path, clock }: MirrorSettings): Promise<TestMirror> {
  const dir = path === undefined ? await tempDir() : undefined
  const root = path ?? dir?.path ?? ''
  const log: Record<string, unknown>[] = []
  const document = {
    listen: '127.0.0.1:0',
    admin: { listen: '127.0.0.1:0' },
    defaultUpstream: Object.keys(upstreams)[0],
    upstreams: Object.fromEntries(
      Object.entries(upstreams).map(([name, value]) => [name, typeof value === 'string' ? { url: value } : value]),
    ),
    ...config,
    storage: { kind: 'file', path: root, ...(config['storage'] as object | undefined) },
  }
  let server: RunningServer
  try {
    const parsed = await parseConfig(JSON.stringify(document), 'test.yaml', {})
    const out = collector(log)
    const environment = { out, tty: false, version: '0.0.0-test' }
    server = await serve(parsed, clock ? { ...environment, now: () => clock.now } : environment)
  } catch (error) {
    await dir?.[Symbol.asyncDispose]()
    throw error
  }
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= server.stop('test'))
  return {
    url: `http://${server.listen}`,
    adminUrl: `http://${server.adminListen}`,
    path: root,
    log,
    stop,
    stats: async () => (await (await fetch(`http://${server.adminListen}/api/stats`)).json()) as StatsAnswer,
    async [Symbol.asyncDispose]() {
      await stop()
      await dir?.[Symbol.asyncDispose]()
    },
  }
}

function collector(lines: Record<string, unknown>[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      for (const line of String(chunk).split('\n')) if (line !== '') lines.push(JSON.parse(line))
      done()
    },
  })
}
