import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Link, MetadataStore, TagRecord } from '../../src/metadata/metadata-store.ts'
import { digestOf } from '../../src/oci/digest.ts'

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

/** Tests for every `MetadataStore`. `create` returns an empty one, which the suite closes. */
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

    check('an empty validator is not an absent one', async (store) => {
      await store.setTag(repository, 'latest', tagRecord({ etag: '' }))
      assert.equal((await store.tag(repository, 'latest'))?.etag, '')
    })

    check('a validator that is no longer sent is dropped', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      await store.setTag(repository, 'latest', tagRecord({ etag: undefined }))
      assert.equal((await store.tag(repository, 'latest'))?.etag, undefined)
    })

    check('a newer check replaces an older one', async (store) => {
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

    check('of two checks with the same time, the last writer wins', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      await store.setTag(repository, 'latest', tagRecord({ digest: two }))
      assert.equal((await store.tag(repository, 'latest'))?.digest, two)
    })

    check('different tags, and the same tag of two repositories, are separate', async (store) => {
      await store.setTag(repository, 'latest', tagRecord({ size: 1 }))
      await store.setTag(repository, 'LATEST', tagRecord({ size: 2 }))
      await store.setTag('ghcr.io/library/alpine', 'latest', tagRecord({ size: 3 }))
      assert.equal((await store.tag(repository, 'latest'))?.size, 1)
      assert.equal((await store.tag(repository, 'LATEST'))?.size, 2)
      assert.equal((await store.tag('ghcr.io/library/alpine', 'latest'))?.size, 3)
    })

    check('deleting a tag removes only that tag, and a later record may have an older check', async (store) => {
      await store.setTag(repository, 'latest', tagRecord())
      await store.setTag(repository, 'edge', tagRecord())
      await store.deleteTag(repository, 'latest')
      assert.equal(await store.tag(repository, 'latest'), undefined)
      assert.deepEqual(await store.tag(repository, 'edge'), tagRecord())
      await store.setTag(repository, 'latest', tagRecord({ checkedAt: 5 }))
      assert.equal((await store.tag(repository, 'latest'))?.checkedAt, 5)
    })

    check('deleting an unknown tag does nothing', async (store) => {
      await store.deleteTag(repository, 'latest')
    })

    check('names may have any length and script', async (store) => {
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
        await store.setTag(repositoryName, `t-${repositoryName}`, tagRecord({ etag: `"${n}"`, size: n }))
        await store.addLinks(repositoryName, [link({ size: n })])
      }
      for (const [n, repositoryName] of names.entries()) {
        const record = await store.tag(repositoryName, `t-${repositoryName}`)
        assert.deepEqual([record?.size, record?.etag], [n, `"${n}"`])
        assert.equal((await store.link(repositoryName, 'blob', one))?.size, n)
      }
    })

    check('of many concurrent writers the newest check stays', async (store) => {
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

    check('a link is for one repository and one kind', async (store) => {
      await store.addLinks(repository, [link()])
      assert.equal(await store.link(repository, 'manifest', one), undefined)
      assert.equal(await store.link(repository, 'blob', two), undefined)
      assert.equal(await store.link('docker.io/library/alpin', 'blob', one), undefined)
      assert.equal(await store.link('docker.io/library/alpine/one', 'blob', one), undefined)
    })

    check('a public link never becomes unproven again', async (store) => {
      await store.addLinks(repository, [link({ visibility: 'public' })])
      await store.addLinks(repository, [link({ visibility: 'unproven' })])
      assert.equal((await store.link(repository, 'blob', one))?.visibility, 'public')
    })

    check('an unproven link can become public', async (store) => {
      await store.addLinks(repository, [link({ visibility: 'unproven' })])
      await store.addLinks(repository, [link({ visibility: 'public' })])
      assert.equal((await store.link(repository, 'blob', one))?.visibility, 'public')
    })

    check('a known size stays known, and an unknown one is filled in', async (store) => {
      await store.addLinks(repository, [link({ size: 7 }), link({ digest: two, size: undefined })])
      await store.addLinks(repository, [link({ size: undefined }), link({ digest: two, size: 8 })])
      assert.equal((await store.link(repository, 'blob', one))?.size, 7)
      assert.equal((await store.link(repository, 'blob', two))?.size, 8)
    })

    check('a size of 0 is a known size', async (store) => {
      await store.addLinks(repository, [link({ size: 0 })])
      await store.addLinks(repository, [link({ size: undefined })])
      assert.equal((await store.link(repository, 'blob', one))?.size, 0)
    })

    check('one call may have the same link twice, or no links', async (store) => {
      await store.addLinks(repository, [])
      await store.addLinks(repository, [link({ size: undefined }), link({ visibility: 'unproven', size: 5 })])
      assert.deepEqual(await store.link(repository, 'blob', one), link({ size: 5 }))
    })

    check('one call takes all the layers of a large image', async (store) => {
      const links = Array.from({ length: 500 }, (_, n) =>
        link({ digest: digestOf(Buffer.from(`layer ${n}`)), size: n }),
      )
      await store.addLinks(repository, links)
      const found = await Promise.all(links.map(({ digest }) => store.link(repository, 'blob', digest)))
      assert.deepEqual(found, links)
    })

    check("concurrent writers do not lose each other's facts", async (store) => {
      const halves = [link({ size: undefined, visibility: 'public' }), link({ size: 7, visibility: 'unproven' })]
      await Promise.all([...halves, ...halves.toReversed()].map((half) => store.addLinks(repository, [half])))
      assert.deepEqual(await store.link(repository, 'blob', one), link({ size: 7 }))
    })
  })
}
