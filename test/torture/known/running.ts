import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { get } from '../../support/client.ts'
import { image } from '../../support/image.ts'
import { given, type KnownFault } from './known-fault.ts'
import type { Mirror } from './mirror.ts'

const repository = 'team/app'
const MB = 1_000_000

/** Whether it starts; rejects where it can not be told. */
async function started(mirror: Mirror): Promise<string> {
  try {
    await mirror.start()
    return 'starts'
  } catch (error) {
    given((error as Error).message.includes('has ended:\nentrepot: '), (error as Error).message)
    return 'ends with one line'
  }
}

/** What ends the process, or keeps it from starting. */
export const running: readonly KnownFault[] = [
  {
    id: 'hangup-ends-process',
    fault: 'SIGHUP ends the process without a line.',
    should: 'SIGHUP re-reads the secrets and says so; the mirror goes on.',
    observe: async (world) => {
      const mirror = await world.mirror(await world.upstream())
      mirror.signal('SIGHUP')
      return (await get(`${mirror.adminUrl}/livez`)).status === 200 ? 'it goes on' : 'the process has ended'
    },
    today: 'the process has ended',
    right: 'it goes on',
  },
  {
    id: 'full-disk-keeps-from-starting',
    fault: 'A mirror that has content does not start while its disk is full.',
    should: 'It starts, serves what it has, and says what is degraded.',
    observe: async (world) => {
      const disk = await world.disk(40 * MB)
      const upstream = await world.upstream()
      upstream.addImage(repository, 'latest', image())
      const mirror = await world.mirror(upstream, { data: disk.path })
      given((await mirror.manifest(repository, 'latest')).status === 200, 'the image is not stored')
      await mirror.keeps(1)
      await mirror.stop()
      await disk.fill(0)
      return started(mirror)
    },
    today: 'ends with one line',
    right: 'starts',
  },
  {
    id: 'unremovable-spool-keeps-from-starting',
    fault: 'A mirror does not start while a file in its ingest folder cannot be removed.',
    should: 'The file is set aside and named; the mirror starts.',
    observe: async (world) => {
      const disk = await world.disk(40 * MB)
      const mirror = await world.mirror(await world.upstream(), { data: disk.path })
      await mirror.stop()
      const left = join(disk.path, 'ingest', 'left')
      await mkdir(join(disk.path, 'ingest'), { recursive: true })
      await writeFile(left, 'left')
      await world.fix(left)
      return started(mirror)
    },
    today: 'ends with one line',
    right: 'starts',
  },
  {
    id: 'failed-pull-is-not-counted',
    fault: 'A pull that failed is in no outcome of the statistics, so that an outage does not show there.',
    should: 'A failed pull is counted as failed.',
    observe: async (world) => {
      const upstream = await world.upstream()
      const mirror = await world.mirror(upstream)
      await upstream.stop()
      given((await mirror.manifest(repository, 'latest')).status === 503, 'the pull does not fail')
      const { requests } = await mirror.stats()
      const counted = Object.values(requests.manifest).reduce((sum, count) => sum + count, 0)
      return counted === 0 ? 'not counted' : 'counted'
    },
    today: 'not counted',
    right: 'counted',
  },
]
