import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { suite, test } from 'node:test'
import { Redis } from 'ioredis'
import { tempDir } from '../../support/temp.ts'
import { until } from '../../support/wait.ts'

/** A suite that needs Debian's redis-server; reported as skipped where that is not installed. */
export function redisSuite(name: string, body: () => void): void {
  const installed = spawnSync('redis-server', ['--version']).status === 0
  if (installed) suite(name, body)
  else test(name, { skip: 'redis-server is not installed' }, () => undefined)
}

/** A real Redis on a port of its own, which it keeps when it is started again. It keeps nothing on disk. */
export class RedisServer implements AsyncDisposable {
  readonly port: number
  readonly #directory: string
  readonly #arguments: readonly string[]
  #process: ChildProcess | undefined

  private constructor(port: number, directory: string, extra: readonly string[]) {
    this.port = port
    this.#directory = directory
    this.#arguments = extra
  }

  static async start(...extra: string[]): Promise<RedisServer> {
    const dir = await tempDir()
    for (let attempt = 1; ; attempt += 1) {
      const server = new RedisServer(await freePort(), dir.path, extra)
      try {
        await server.run()
        return server
      } catch (error) {
        // Another may have taken the port meanwhile.
        if (attempt === 5) throw error
      }
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** Starts it, empty. */
  async run(): Promise<void> {
    const options = ['--bind', '127.0.0.1', '--port', String(this.port), '--dir', this.#directory, '--save', '']
    const child = spawn('redis-server', [...options, '--daemonize', 'no', ...this.#arguments], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    this.#process = child
    let said = ''
    for await (const text of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
      said += text
      if (said.includes('Ready to accept connections')) {
        child.stdout.resume()
        return
      }
    }
    throw new Error(`redis-server did not start: ${said}`)
  }

  async kill(): Promise<void> {
    const child = this.#process
    this.#process = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const end = once(child, 'exit')
    child.kill('SIGKILL')
    await end
  }

  /** Deaf, though its connections stay and new ones are still taken by the kernel. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  /** Asks it something over a connection of the test's own. */
  async ask(command: string, ...args: string[]): Promise<unknown> {
    const client = new Redis({ port: this.port, host: '127.0.0.1', lazyConnect: true })
    try {
      return await client.call(command, ...args)
    } finally {
      client.disconnect()
    }
  }

  async hash(key: string): Promise<Record<string, string>> {
    const fields = (await this.ask('HGETALL', key)) as string[]
    return Object.fromEntries(fields.flatMap((field, n) => (n % 2 === 0 ? [[field, fields[n + 1] ?? '']] : [])))
  }

  /** How many times a command has reached it since it was started. */
  async count(command: string): Promise<number> {
    const stats = String(await this.ask('INFO', 'commandstats'))
    return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, 'm').exec(stats)?.[1] ?? 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** A Redis Cluster of two nodes without replicas. */
export class RedisCluster implements AsyncDisposable {
  readonly nodes: readonly RedisServer[]

  private constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes
  }

  static async start(): Promise<RedisCluster> {
    const options = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000']
    const [one, two] = await Promise.all([RedisServer.start(...options), RedisServer.start(...options)])
    await one.ask('CLUSTER', 'ADDSLOTSRANGE', '0', '8191')
    await two.ask('CLUSTER', 'ADDSLOTSRANGE', '8192', '16383')
    await one.ask('CLUSTER', 'MEET', '127.0.0.1', String(two.port))
    const cluster = new RedisCluster([one, two])
    for (const node of cluster.nodes) {
      await until(async () => String(await node.ask('CLUSTER', 'INFO')).includes('cluster_state:ok'), 'the cluster')
    }
    return cluster
  }

  get url(): string {
    const [one, two] = this.nodes
    return `${one?.url}?cluster=true&node=127.0.0.1:${two?.port}`
  }

  async ask(command: string, ...args: string[]): Promise<unknown[]> {
    return Promise.all(this.nodes.map((node) => node.ask(command, ...args)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) await node[Symbol.asyncDispose]()
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
