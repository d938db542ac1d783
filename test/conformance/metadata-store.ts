import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Link, MetadataStore, TagRecord, Use } from '../../src/metadata/metadata-store.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'

const repository = 'docker.io/library/alpine'
const one = digestOf(Buffer.from('one'))
const two = digestOf(Buffer.from('two'), 'sha512')
const three = digestOf(Buffer.from('three'))

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'

function tagRecord(change: Partial<TagRecord> = {}): TagRecord {
  return { digest: one, mediaType: manifestType, size: 528, etag: '"v1"', checkedAt: 1_700_000_000_000, ...change }
}

function link(change: Partial<Link> = {}): Link {
  return { kind: 'blob', digest: one, size: 3_400_000, mediaType: layerType, visibility: 'public', ...change }
}

function manyUses(count: number): Use[] {
  return Array.from({ length: count }, (_, n) => ({ digest: digestOf(Buffer.from(`use ${n}`)), size: n, at: 1000 + n }))
}

/** What every `MetadataStore` does. `create` gives an empty one, which the suite disposes of. */
export function metadataStoreConformance(name: string, create: () => Promise<MetadataStore>): void {
  const check = (line: string, body: (store: MetadataStore) => Promise<void>) =>
    test(line, async () => {
      await using store = await create()
      await body(store)
    })

  suite(`${name} keeps tags:`, () => {
    check('an unknown tag is undefined', async (store) => {
      assert.equal(await store.tag(repository, 'latest'), undefined)
    })

    check('a record comes back as it was set', async (store) => {
      for (const record of [tagRecord(), tagRecord({ digest: two, etag: undefined, size: 0, checkedAt: 0 })]) {
        await store.setTag(repository, `tag-${record.checkedAt}`, record)
        assert.deepEqual(await store.tag(repository, `tag-${record.checkedAt}`), record)
      }
    })

    check('an empty validator is not the same as none', async (store) => {
      await store.setTag(repository, 'latest', tagRecord({ etag: '' }))
      assert.equal((await store.tag(repository, 'latest'))?.etag, '')
    })

    check('a validator that is sent no more is forgotten', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      await store.setTag(repository, 'latest', tagRecord({ etag: undefined }))
      assert.equal((await store.tag(repository, 'latest'))?.etag, undefined)
    })

    check('a newer check replaces an older one, whatever it found', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      const moved = tagRecord({ digest: two, mediaType: 'application/x', size: 9, etag: 'W/"2"', checkedAt: 1.8e12 })
      await store.setTag(repository, 'latest', moved)
      assert.deepEqual(await store.tag(repository, 'latest'), moved)
    })

    check('an older check never replaces a newer one', async (store) => {
      await store.setTag(repository, 'latest', tagRecord({ checkedAt: 2000 }))
      await store.setTag(repository, 'latest', tagRecord({ digest: two, checkedAt: 1999 }))
      assert.deepEqual(await store.tag(repository, 'latest'), tagRecord({ checkedAt: 2000 }))
    })

    check('of two checks at the same time the last writer wins', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      await store.setTag(repository, 'latest', tagRecord({ digest: two }))
      assert.equal((await store.tag(repository, 'latest'))?.digest, two)
    })

    check('tags of one repository, and the same tag of two, are apart', async (store) => {
      await store.setTag(repository, 'latest', tagRecord({ size: 1 }))
      await store.setTag(repository, 'LATEST', tagRecord({ size: 2 }))
      await store.setTag('ghcr.io/library/alpine', 'latest', tagRecord({ size: 3 }))
      assert.equal((await store.tag(repository, 'latest'))?.size, 1)
      assert.equal((await store.tag(repository, 'LATEST'))?.size, 2)
      assert.equal((await store.tag('ghcr.io/library/alpine', 'latest'))?.size, 3)
    })

    check('a deleted tag is gone, alone, and may come again with an older check', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      await store.setTag(repository, 'edge', tagRecord())
      await store.deleteTag(repository, 'latest')
      assert.equal(await store.tag(repository, 'latest'), undefined)
      assert.deepEqual(await store.tag(repository, 'edge'), tagRecord())
      await store.setTag(repository, 'latest', tagRecord({ checkedAt: 5 }))
      assert.equal((await store.tag(repository, 'latest'))?.checkedAt, 5)
    })

    check('deleting an unknown tag is nothing', async (store) => {
      await store.deleteTag(repository, 'latest')
    })

    check('names and values of any length and script', async (store) => {
      const names = [
        'a',
        'x'.repeat(255),
        'örtliche/käse',
        '倉庫/画像',
        'emoji/🐳',
        "quote'; DROP TABLE tags; --",
        '%s {a} * ?',
      ]
      for (const [n, repositoryName] of names.entries()) {
        const record = tagRecord({ etag: `"${repositoryName}"`, mediaType: `application/${repositoryName}`, size: n })
        await store.setTag(repositoryName, `t-${repositoryName}`, record)
        await store.addLinks(repositoryName, [link({ size: n, mediaType: record.mediaType })])
      }
      for (const [n, repositoryName] of names.entries()) {
        const record = await store.tag(repositoryName, `t-${repositoryName}`)
        assert.deepEqual([record?.size, record?.etag], [n, `"${repositoryName}"`])
        assert.equal((await store.link(repositoryName, 'blob', one))?.mediaType, `application/${repositoryName}`)
      }
    })

    check('many writers at once leave the newest check', async (store) => {
      const times = Array.from({ length: 100 }, (_, n) => (n * 37) % 100)
      await Promise.all(times.map((at) => store.setTag(repository, 'latest', tagRecord({ size: at, checkedAt: at }))))
      assert.deepEqual(await store.tag(repository, 'latest'), tagRecord({ size: 99, checkedAt: 99 }))
    })
  })

  suite(`${name} keeps links:`, () => {
    check('an unknown link is undefined', async (store) => {
      assert.equal(await store.link(repository, 'blob', one), undefined)
    })

    check('links come back as they were added', async (store) => {
      const links = [
        link(),
        link({ digest: two, size: undefined, visibility: 'unproven' }),
        link({ digest: three, kind: 'manifest', size: 0, mediaType: manifestType }),
      ]
      await store.addLinks(repository, links)
      for (const each of links) assert.deepEqual(await store.link(repository, each.kind, each.digest), each)
    })

    check('a link holds for one repository and one kind', async (store) => {
      await store.addLinks(repository, [link()])
      assert.equal(await store.link(repository, 'manifest', one), undefined)
      assert.equal(await store.link(repository, 'blob', two), undefined)
      assert.equal(await store.link('docker.io/library/alpin', 'blob', one), undefined)
      assert.equal(await store.link('docker.io/library/alpine/one', 'blob', one), undefined)
    })

    check('what is public is not made unproven again', async (store) => {
      await store.addLinks(repository, [link({ visibility: 'public' })])
      await store.addLinks(repository, [link({ visibility: 'unproven' })])
      assert.equal((await store.link(repository, 'blob', one))?.visibility, 'public')
    })

    check('what was unproven becomes public', async (store) => {
      await store.addLinks(repository, [link({ visibility: 'unproven' })])
      await store.addLinks(repository, [link({ visibility: 'public' })])
      assert.equal((await store.link(repository, 'blob', one))?.visibility, 'public')
    })

    check('a known size is not forgotten, and a missing one is learnt', async (store) => {
      await store.addLinks(repository, [link({ size: 7 }), link({ digest: two, size: undefined })])
      await store.addLinks(repository, [link({ size: undefined }), link({ digest: two, size: 8 })])
      assert.equal((await store.link(repository, 'blob', one))?.size, 7)
      assert.equal((await store.link(repository, 'blob', two))?.size, 8)
    })

    check('a size of nothing is a known size', async (store) => {
      await store.addLinks(repository, [link({ size: 0 })])
      await store.addLinks(repository, [link({ size: undefined })])
      assert.equal((await store.link(repository, 'blob', one))?.size, 0)
    })

    check('one call may name a link twice, and none at all', async (store) => {
      await store.addLinks(repository, [])
      await store.addLinks(repository, [link({ size: undefined }), link({ visibility: 'unproven', size: 5 })])
      assert.deepEqual(await store.link(repository, 'blob', one), link({ size: 5 }))
    })

    check('all the layers of a large image in one call', async (store) => {
      const links = manyUses(500).map(({ digest, size }) => link({ digest, size }))
      await store.addLinks(repository, links)
      const found = await Promise.all(links.map(({ digest }) => store.link(repository, 'blob', digest)))
      assert.deepEqual(found, links)
    })

    check('writers at once lose nothing of each other', async (store) => {
      const halves = [link({ size: undefined, visibility: 'public' }), link({ size: 7, visibility: 'unproven' })]
      await Promise.all([...halves, ...halves.toReversed()].map((half) => store.addLinks(repository, [half])))
      assert.deepEqual(await store.link(repository, 'blob', one), link({ size: 7 }))
    })
  })

  suite(`${name} keeps last uses:`, () => {
    check('an empty store has no usage and nothing cold', async (store) => {
      assert.deepEqual(await store.usage(), { blobs: 0, bytes: 0 })
      assert.deepEqual(await store.coldest(10), [])
    })

    check('the least recently used come first, as many as asked for', async (store) => {
      const uses = [use(one, 10, 300), use(two, 20, 100), use(three, 30, 200)]
      await store.recordUses(uses)
      assert.deepEqual(await store.coldest(10), [use(two, 20, 100), use(three, 30, 200), use(one, 10, 300)])
      assert.deepEqual(await store.coldest(2), [use(two, 20, 100), use(three, 30, 200)])
      assert.deepEqual(await store.coldest(0), [])
    })

    check('the newest use of a digest counts, in whatever order they come', async (store) => {
      await store.recordUses([use(one, 10, 500), use(two, 20, 400)])
      await store.recordUses([use(one, 10, 300)])
      await store.recordUses([use(two, 20, 600), use(two, 20, 450)])
      assert.deepEqual(await store.coldest(10), [use(one, 10, 500), use(two, 20, 600)])
    })

    check('usage is exact through uses, changed sizes and forgetting', async (store) => {
      await store.recordUses([use(one, 10, 1), use(two, 20, 1), use(one, 10, 2)])
      assert.deepEqual(await store.usage(), { blobs: 2, bytes: 30 })
      await store.recordUses([use(one, 15, 3), use(three, 0, 3)])
      assert.deepEqual(await store.usage(), { blobs: 3, bytes: 35 })
      await store.recordUses([use(one, 99, 2)])
      assert.deepEqual(await store.usage(), { blobs: 3, bytes: 35 })
      await store.recordUses([use(one, 12, 3)])
      assert.deepEqual(await store.usage(), { blobs: 3, bytes: 32 })
      await store.forgetUse(one, 3)
      await store.forgetUse(two, 7)
      assert.deepEqual(await store.usage(), { blobs: 2, bytes: 20 })
      await store.recordUses([use(one, 1, 1)])
      assert.deepEqual(await store.usage(), { blobs: 3, bytes: 21 })
    })

    check('sizes beyond 32 bits are exact', async (store) => {
      await store.recordUses([use(one, 2 ** 45, 1), use(two, 3, 1_700_000_000_001)])
      assert.deepEqual(await store.usage(), { blobs: 2, bytes: 2 ** 45 + 3 })
      assert.deepEqual(await store.coldest(2), [use(one, 2 ** 45, 1), use(two, 3, 1_700_000_000_001)])
    })

    check('a use is forgotten only while it is still the last', async (store) => {
      await store.recordUses([use(one, 10, 100)])
      assert.equal(await store.forgetUse(one, 99), false)
      assert.equal(await store.forgetUse(one, 101), false)
      await store.recordUses([use(one, 10, 200)])
      assert.equal(await store.forgetUse(one, 100), false)
      assert.deepEqual(await store.coldest(10), [use(one, 10, 200)])
      assert.equal(await store.forgetUse(one, 200), true)
      assert.equal(await store.forgetUse(one, 200), false)
      assert.deepEqual(await store.coldest(10), [])
    })

    check('of many who forget the same use, one did', async (store) => {
      await store.recordUses([use(one, 10, 100)])
      const answers = await Promise.all(Array.from({ length: 10 }, () => store.forgetUse(one, 100)))
      assert.equal(answers.filter(Boolean).length, 1)
      assert.deepEqual(await store.usage(), { blobs: 0, bytes: 0 })
    })

    check('many writers at once are counted once each', async (store) => {
      const uses = manyUses(300)
      await Promise.all([uses, uses.toReversed(), uses].flatMap((all) => all.map((each) => store.recordUses([each]))))
      assert.deepEqual(await store.usage(), { blobs: 300, bytes: (299 * 300) / 2 })
      assert.deepEqual(await store.coldest(1000), uses)
    })

    check('thousands in one call', async (store) => {
      const uses = manyUses(3000)
      await store.recordUses(uses)
      assert.deepEqual(await store.usage(), { blobs: 3000, bytes: (2999 * 3000) / 2 })
      assert.deepEqual(await store.coldest(3), uses.slice(0, 3))
    })
  })
}

function use(digest: Digest, size: number, at: number): Use {
  return { digest, size, at }
}
