import { open, readdir, rm, stat, truncate, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { nameOf } from './ask.ts'
import { lineOf, type PlannedEvent } from './plan.ts'
import type { World } from './world.ts'

/** Whatever is asked to end has so long, beyond its own limit for running downloads. Milliseconds. */
const stopLimit = 15_000

/** Does what the plan says, when it says so. What lasts is undone when its time is over, or by `end`. */
export class Attack {
  readonly #world: World
  readonly #undo = new Set<() => Promise<void>>()
  readonly #running = new Set<Promise<void>>()
  /** Ends and starts of the process, one after the other. */
  #lives: Promise<void> = Promise.resolve()
  /** Redis has one trouble at a time: of two that start it again, one would be in the way of the other. */
  #redisInTrouble = false

  constructor(world: World) {
    this.#world = world
  }

  /** The part of the plan that lies from `from` to before `to`, in milliseconds; takes as long. */
  async run(plan: readonly PlannedEvent[], from: number, to: number): Promise<void> {
    const startedAt = performance.now()
    const wait = (at: number) => sleep(Math.max(0, at - from - (performance.now() - startedAt)))
    for (const event of plan) {
      if (event.at < from || event.at >= to) continue
      await wait(event.at)
      const doing = this.#do(event).catch((error: unknown) => {
        this.#world.history.record(`${event.deed} could not be done: ${(error as Error).message}`)
      })
      this.#running.add(doing)
      void doing.finally(() => this.#running.delete(doing))
    }
    await wait(to)
  }

  /** Everything is well again: the upstream is there, the disk has room, the mirror runs. */
  async end(): Promise<void> {
    const { upstream, history, mirror } = this.#world
    for (const undo of [...this.#undo]) await undo()
    await Promise.all(this.#running)
    await this.#lives
    await upstream.tell({ command: 'weather', weather: 'calm' })
    history.setWeather('calm')
    if (!mirror.isUp) await this.#start()
  }

  /** The process ended though nobody asked it to. */
  died(how: string): void {
    const { findings } = this.#world
    findings.add('died', '', how)
    void this.#then(() => this.#start())
  }

  async #do(event: PlannedEvent): Promise<void> {
    const { history, upstream, mirror, clock, disk } = this.#world
    this.#world.did(
      lineOf(event)
        .trim()
        .replace(/^[\d.]+ s {2}/, ''),
      event.deed,
    )
    switch (event.deed) {
      case 'weather':
        await upstream.tell({ command: 'weather', weather: event.weather })
        return history.setWeather(event.weather)
      case 'outage':
        history.beginOutage()
        await upstream.tell({ command: event.how === 'refuses' ? 'stop' : 'silence' })
        return this.#for(event.milliseconds, async () => {
          await upstream.tell({ command: 'resume' })
          history.endOutage()
        })
      case 'narrow':
        history.beginOutage()
        await upstream.tell({ command: 'limit', connections: event.connections })
        return this.#for(event.milliseconds, async () => {
          await upstream.tell({ command: 'limit', connections: Number.POSITIVE_INFINITY })
          history.endOutage()
        })
      case 'move-tags':
        return this.#moveTags(event.draw)
      case 'expire':
        return upstream.tell({ command: 'expire' })
      case 'term':
        return this.#then(() => this.#restart('SIGTERM'))
      case 'kill':
        return this.#then(() => this.#restart('SIGKILL'))
      case 'lose-metadata':
        return this.#then(() => this.#restart('SIGKILL', () => this.#loseMetadata()))
      case 'freeze':
        return this.#then(async () => {
          mirror.freeze()
          await sleep(event.milliseconds)
          mirror.thaw()
        })
      case 'damage':
        return this.#damage(event.how, event.draw)
      case 'purge':
        return this.#purge(event.draw)
      case 'scrub':
        await mirror.ask('/api/scrub', 'POST')
        return
      case 'evict':
        await mirror.ask('/api/evict', 'POST')
        return
      case 'step-clock':
        await clock?.step(event.seconds)
        if (event.seconds < 0) this.#world.hints.add('step-clock back')
        return
      case 'fill-disk':
        // Others write too, and may take the last of it.
        await disk?.fill(200_000).catch(() => undefined)
        return this.#for(event.milliseconds, async () => {
          await disk?.free()
          history.record('disk has room again')
        })
      case 'redis':
        return this.#troubleRedis(event.how, event.milliseconds)
    }
  }

  /** Undone after so long, or when the attack ends. */
  async #for(milliseconds: number, undo: () => Promise<void>): Promise<void> {
    const over = new AbortController()
    const once = async () => {
      if (!this.#undo.delete(once)) return
      over.abort()
      await undo()
    }
    this.#undo.add(once)
    await sleep(milliseconds, undefined, { signal: over.signal }).catch(() => undefined)
    await once()
  }

  #then(act: () => Promise<void>): Promise<void> {
    this.#lives = this.#lives.then(act).catch((error: unknown) => {
      this.#world.findings.add('no-start', '', (error as Error).message)
    })
    return this.#lives
  }

  async #restart(signal: 'SIGTERM' | 'SIGKILL', meanwhile: () => Promise<void> = async () => {}): Promise<void> {
    const { mirror, findings } = this.#world
    const took = await mirror.end(signal)
    if (took > stopLimit) findings.add('no-stop', '', `it took ${Math.round(took)} ms to end`)
    await meanwhile()
    await this.#start()
  }

  async #start(): Promise<void> {
    const { mirror } = this.#world
    for (let attempt = 1; !mirror.isUp; attempt += 1) {
      try {
        await mirror.start()
      } catch (error) {
        if (attempt === 3) throw error
        await sleep(500)
      }
    }
  }

  async #loseMetadata(): Promise<void> {
    const { dataFolder } = this.#world
    for (const name of await readdir(dataFolder)) {
      if (name.startsWith('metadata.sqlite')) await rm(join(dataFolder, name))
    }
  }

  async #moveTags(draw: number): Promise<void> {
    const { catalogue, upstream, history } = this.#world
    const moving = catalogue.tags.filter(({ still }) => !still)
    const tag = moving[draw % moving.length]
    const version = tag?.versions[Math.floor(draw / moving.length) % tag.versions.length]
    if (!tag || !version) return
    const { repository, tag: name } = tag
    // It may be seen there from now on, and it may be seen where it was until that is done.
    await upstream.tell({ command: 'move-tag', repository, tag: name, digest: version.digest })
    history.pointTag(nameOf(tag), version.digest)
  }

  async #purge(draw: number): Promise<void> {
    const { catalogue, mirror, history } = this.#world
    const moving = catalogue.tags.filter(({ still }) => !still)
    const tag = moving[draw % moving.length]
    if (draw % 3 === 0 && tag) {
      const manifests = catalogue.manifests.filter(({ repository }) => repository === tag.repository)
      const touch = () => {
        for (const digest of manifests.flatMap(({ parts }) => parts)) history.touch(digest)
      }
      touch()
      await mirror.ask(`/api/repositories/registry.test/${tag.repository}`, 'DELETE')
      touch()
      return
    }
    const bulk = catalogue.blobs.filter(({ repository }) => repository.startsWith('bulk/'))
    const blob = bulk[draw % bulk.length]
    if (!blob) return
    history.touch(blob.digest)
    await mirror.ask(`/api/blobs/${blob.digest}`, 'DELETE')
    history.touch(blob.digest)
  }

  /** To a stored file of a bulk blob: images are pinned, and looked at closely. */
  async #damage(how: 'truncate' | 'delete' | 'flip', draw: number): Promise<void> {
    const { catalogue, dataFolder, history, hints } = this.#world
    const bulk = catalogue.blobs.filter(({ repository, bytes }) => repository.startsWith('bulk/') && bytes.size > 0)
    const folder = join(dataFolder, 'blobs', 'sha256')
    const names = new Set(await readdir(folder))
    const stored = bulk.filter(({ digest }) => names.has(digest.slice('sha256:'.length)))
    const blob = stored[draw % stored.length]
    if (!blob) return
    history.touch(blob.digest)
    const path = join(folder, blob.digest.slice('sha256:'.length))
    const { size } = await stat(path)
    hints.add(`${how} ${blob.digest}`)
    if (how === 'flip') hints.add(`flip ${blob.digest} at ${draw % size}`)
    await damage(path, how, draw % size)
    history.touch(blob.digest)
  }

  async #troubleRedis(how: 'kill' | 'freeze' | 'flush', milliseconds: number): Promise<void> {
    const { redis } = this.#world
    if (!redis || this.#redisInTrouble) return
    if (how === 'flush') {
      await redis.ask('FLUSHALL')
      return
    }
    this.#redisInTrouble = true
    if (how === 'kill') await redis.kill()
    else redis.pause()
    return this.#for(milliseconds, async () => {
      if (how === 'kill') await redis.run()
      else redis.resume()
      this.#redisInTrouble = false
    })
  }
}

async function damage(path: string, how: 'truncate' | 'delete' | 'flip', at: number): Promise<void> {
  if (how === 'delete') return unlink(path)
  if (how === 'truncate') return truncate(path, at)
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, at)
  byte[0] = (byte[0] ?? 0) ^ 0xff
  await file.write(byte, 0, 1, at)
}
