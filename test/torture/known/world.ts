import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { mountTinyDisk, type TinyDisk } from '../../cache/support/tiny-disk.ts'
import { RedisServer } from '../../metadata/redis/redis-server.ts'
import { tempDir } from '../../support/temp.ts'
import { TestUpstream, type UpstreamOptions } from '../../support/upstream.ts'
import { Mirror } from './mirror.ts'

const run = promisify(execFile)

export interface MirrorOptions {
  /** Laid over the entry of the upstream. */
  readonly entry?: Readonly<Record<string, unknown>>
  readonly storage?: Readonly<Record<string, unknown>>
  /** Laid over the rest of the configuration. */
  readonly config?: Readonly<Record<string, unknown>>
  /** A data folder elsewhere. */
  readonly data?: string
  /** Of its first life. */
  readonly env?: Readonly<Record<string, string>>
}

/** This machine lacks something that a play needs. */
export class Missing extends Error {
  override readonly name = 'Missing'
}

/** What one play uses, all of it ended and removed with the world, in whatever state it is. */
export class World implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack()

  async upstream(options: UpstreamOptions = {}): Promise<TestUpstream> {
    return this.#stack.use(await TestUpstream.start(options))
  }

  /**
   * A mirror of one registry, `registry.test`, which is the default. Each request for a tag asks the upstream, and waits
   * long for it; nothing is scrubbed by itself.
   */
  async mirror(upstream: TestUpstream, options: MirrorOptions = {}): Promise<Mirror> {
    const { entry, storage, config, data, env } = options
    const dir = this.#stack.use(await tempDir())
    const mirror = new Mirror({
      home: dir.path,
      data: data ?? join(dir.path, 'data'),
      config: {
        defaultUpstream: 'registry.test',
        upstreams: { 'registry.test': { url: upstream.url, tagTtl: '0s', ...entry } },
        timeouts: { tagDeadline: '60s' },
        ...config,
        storage: { scrubRate: '0B', ...storage },
      },
    })
    this.#stack.use(mirror)
    await mirror.start(env)
    return mirror
  }

  /** Rejects with Missing where this process may not mount. */
  async disk(bytes: number): Promise<TinyDisk> {
    const disk = await mountTinyDisk(bytes)
    if (typeof disk === 'string') throw new Missing(disk)
    return this.#stack.use(disk)
  }

  /** Makes something of a tiny disk impossible to remove, for root too: it is mounted onto itself. */
  async fix(path: string): Promise<void> {
    await run('mount', ['--bind', path, path])
    this.#stack.defer(async () => void (await run('umount', ['--lazy', path])))
  }

  /** Rejects with Missing where it is not installed. */
  async redis(): Promise<RedisServer> {
    if (spawnSync('redis-server', ['--version']).status !== 0) throw new Missing('redis-server is not installed')
    return this.#stack.use(await RedisServer.start())
  }

  /** Released with the world. */
  defer(release: () => void | Promise<void>): void {
    this.#stack.defer(async () => release())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync()
  }
}
