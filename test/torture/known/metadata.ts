import { copyFile } from 'node:fs/promises'
import { eventually } from '../../e2e/support/daemon.ts'
import { image, randomBlob } from '../../support/image.ts'
import { loseMetadata } from './files.ts'
import { afterDeed, given, type KnownFault } from './known-fault.ts'
import { within } from './within.ts'

const repository = 'team/app'

/** What is recorded, and what is there. */
export const metadata: readonly KnownFault[] = [
  {
    id: 'lost-metadata-loses-tags',
    fault: 'A stored tag is 503 when the metadata was deleted and the upstream is away.',
    should: 'The tag comes back from the note beside its manifest, and is answered stale.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addImage(repository, 'latest', image())
      const mirror = await world.mirror(upstream)
      given((await mirror.manifest(repository, 'latest')).status === 200, 'the image is not stored')
      await mirror.keeps(1)
      await mirror.stop()
      await upstream.stop()
      await loseMetadata(mirror)
      await mirror.start()
      await mirror.keeps(1)
      const isServed = async () => (await mirror.manifest(repository, 'latest')).status === 200
      return (await within(3000, isServed)) ? 'served' : 'not served'
    },
    today: 'not served',
    right: 'served',
    // A pin of a tag covers nothing while the tag is lost.
    tolerates: afterDeed('pinned-gone', 'lose-metadata'),
  },
  {
    id: 'unrecorded-files-stay',
    fault: 'What a kill leaves stored and unrecorded is never recorded: the store grows beyond its bound.',
    should: 'Folder and records are compared at each start, and are the same soon.',
    observe: async (world) => {
      const upstream = await world.upstream()
      const mirror = await world.mirror(upstream)
      const take = async (seed: number) => {
        const digest = upstream.addBlob(repository, randomBlob(10_000, seed))
        given((await mirror.blob(repository, digest)).complete, 'a blob is not served')
        await eventually(() => mirror.holds(digest), 'a blob to be stored')
      }
      await take(1)
      await mirror.keeps(1)
      await mirror.stop()
      const file = `${mirror.data}/metadata.sqlite`
      await copyFile(file, `${mirror.data}/earlier`)
      await mirror.start()
      for (const seed of [2, 3, 4]) await take(seed)
      await mirror.kill()
      // The records as they were before: a batch that was not written when it was killed.
      await loseMetadata(mirror)
      await copyFile(`${mirror.data}/earlier`, file)
      await mirror.start()
      const isSame = async () => (await mirror.stats()).storage.blobs === (await mirror.files())
      return (await within(5000, isSame)) ? 'the same' : 'more files than records'
    },
    today: 'more files than records',
    right: 'the same',
    tolerates: afterDeed('disk-differs', 'kill', 'lose-metadata', 'damage', 'fill-disk'),
  },
]
