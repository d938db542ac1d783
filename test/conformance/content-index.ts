import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import type { Access, AccessLog } from '../../src/metadata/access-log.ts'
import type { ContentIndex, Holding, ImageCursor, TaggedImage } from '../../src/metadata/content-index.ts'
import type { Link, LinkKind, MetadataStore, TagRecord } from '../../src/metadata/metadata-store.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'

/** A store, and the index of its content. */
export interface Indexed extends AsyncDisposable {
  readonly store: MetadataStore
  readonly index: ContentIndex & AccessLog
}

const repository = 'docker.io/library/alpine'
const [one, two, three] = [digest('one'), digest('two'), digest('three')]
const manifestType = 'application/vnd.oci.image.manifest.v1+json'

function digest(text: string | number): Digest {
  return digestOf(Buffer.from(`${text}`))
}

/** Distinct digests, in order. */
function digests(count: number): Digest[] {
  return Array.from({ length: count }, (_, n) => digest(n)).sort()
}

function link(of: Digest, kind: LinkKind = 'blob'): Link {
  return { kind, digest: of, size: 1, mediaType: 'application/x', visibility: 'public' }
}

function tagRecord(change: Partial<TagRecord> = {}): TagRecord {
  return { digest: one, mediaType: manifestType, size: 528, etag: '"v1"', checkedAt: 1000, ...change }
}

/** Tests for every `ContentIndex`. `create` returns an empty one, which the suite closes. */
export function contentIndexConformance(name: string, create: () => Promise<Indexed>): void {
  const check = (line: string, body: (indexed: Indexed) => Promise<void>) =>
    test(line, async () => {
      await using indexed = await create()
      await body(indexed)
    })

  suite(`${name} lists accesses:`, () => {
    check('an empty index lists none', async ({ index }) => {
      assert.equal(await index.lastAccess(one), undefined)
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), [])
      assert.deepEqual(await index.accessesAfter(undefined, 10), [])
    })

    check('the last access to a blob, until it is forgotten', async ({ index }) => {
      const access = { digest: one, size: 7, at: 5 }
      await index.recordAccesses([access, { digest: two, size: 1, at: 1 }])
      assert.deepEqual(await index.lastAccess(one), access)
      await index.recordAccesses([{ ...access, at: 3 }])
      assert.deepEqual(await index.lastAccess(one), access)
      await index.forgetAccess(one, 5)
      assert.equal(await index.lastAccess(one), undefined)
    })

    check('by age in pages, with many of the same time', async ({ index }) => {
      const accesses = digests(30).map((each, n): Access => ({ digest: each, size: n, at: 100 + Math.floor(n / 12) }))
      await index.recordAccesses(accesses.toSorted((a, b) => a.size * 7 - b.size * 5))
      const seen: Access[] = []
      for (;;) {
        const page = await index.leastRecentlyUsed(seen.at(-1), 7)
        if (page.length === 0) break
        assert.ok(page.length <= 7)
        seen.push(...page)
      }
      assert.deepEqual(seen, accesses)
    })

    check('by age, with times of 0 and before 1970, and an empty page', async ({ index }) => {
      const accesses = [-5, 0, 5].map((at, n) => ({ digest: digest(n), size: 1, at }))
      await index.recordAccesses(accesses)
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 10), accesses)
      assert.deepEqual(await index.leastRecentlyUsed(accesses[0], 10), accesses.slice(1))
      assert.deepEqual(await index.leastRecentlyUsed(undefined, 0), [])
    })

    check('by digest in pages, while others are recorded and forgotten', async ({ index }) => {
      const all = digests(30)
      await index.recordAccesses(all.map((each, n) => ({ digest: each, size: 1, at: n })))
      const seen: Digest[] = []
      for (;;) {
        const page = await index.accessesAfter(seen.at(-1), 4)
        if (page.length === 0) break
        seen.push(...page.map((access) => access.digest))
        await index.recordAccesses(page.map((access) => ({ ...access, at: access.at + 1000 })))
        await index.forgetAccess(page[0]?.digest ?? one, (page[0]?.at ?? 0) + 1000)
      }
      assert.deepEqual(seen, all)
    })

    check('of digests of every algorithm', async ({ index }) => {
      const long = digestOf(Buffer.from('long'), 'sha512')
      await index.recordAccesses([one, long].map((each) => ({ digest: each, size: 1, at: 1 })))
      assert.deepEqual(
        (await index.accessesAfter(undefined, 10)).map((access) => access.digest),
        [one, long],
      )
      assert.deepEqual(await index.accessesAfter(long, 10), [])
    })
  })

  suite(`${name} keeps references of manifests:`, () => {
    check('in both directions', async ({ index }) => {
      await index.addReferences(one, [three, two])
      await index.addReferences(two, [three])
      assert.deepEqual(await index.childrenOf(one), [two, three].sort())
      assert.deepEqual(await index.childrenOf(three), [])
      assert.deepEqual(await index.parentsOf(three), [one, two].sort())
      assert.deepEqual(await index.parentsOf(two), [one])
      assert.deepEqual(await index.parentsOf(one), [])
    })

    check('once each, however often they are added, and an empty list', async ({ index }) => {
      await index.addReferences(one, [])
      assert.deepEqual(await index.childrenOf(one), [])
      await index.addReferences(one, [two, two])
      await index.addReferences(one, [three, two])
      assert.deepEqual(await index.childrenOf(one), [two, three].sort())
    })

    check('until those of one manifest are deleted, and no others', async ({ index }) => {
      await index.addReferences(one, [two, three])
      await index.addReferences(two, [three])
      await index.deleteReferences(one)
      await index.deleteReferences(three)
      assert.deepEqual(await index.childrenOf(one), [])
      assert.deepEqual(await index.parentsOf(three), [two])
    })

    check('thousands of one manifest', async ({ index }) => {
      const named = digests(3000)
      await index.addReferences(one, named)
      assert.deepEqual(await index.childrenOf(one), named)
      await index.deleteReferences(one)
      assert.deepEqual(await index.childrenOf(one), [])
    })
  })

  suite(`${name} knows which repositories hold a digest:`, () => {
    check('each repository once, in order', async ({ store, index }) => {
      assert.deepEqual(await index.repositoriesOf(one), [])
      const names = ['ghcr.io/b', 'ghcr.io/a', 'ghcr.io/c']
      for (const each of names) await store.addLinks(each, [link(one), link(one, 'manifest'), link(two)])
      await store.addLinks('ghcr.io/d', [link(two)])
      assert.deepEqual(await index.repositoriesOf(one), names.sort())
    })

    check(
      'deleting links to a digest takes those of every repository and kind, and no others',
      async ({ store, index }) => {
        const names = Array.from({ length: 1200 }, (_, n) => `docker.io/library/r${n}`)
        for (const each of names) await store.addLinks(each, [link(one), link(one, 'manifest'), link(two)])
        await index.deleteLinks(one)
        assert.deepEqual(await index.repositoriesOf(one), [])
        assert.equal(await store.link('docker.io/library/r7', 'blob', one), undefined)
        assert.equal(await store.link('docker.io/library/r7', 'manifest', one), undefined)
        assert.deepEqual(await store.link('docker.io/library/r7', 'blob', two), link(two))
        assert.deepEqual(await index.repositoriesOf(two), names.sort())
        await index.deleteLinks(three)
      },
    )

    check('a deleted link can be added again', async ({ store, index }) => {
      await store.addLinks(repository, [link(one)])
      await index.deleteLinks(one)
      await store.addLinks(repository, [link(one)])
      assert.deepEqual(await index.repositoriesOf(one), [repository])
    })
  })

  suite(`${name} lists links:`, () => {
    check('of the repositories that begin with a prefix, in order and in pages', async ({ store, index }) => {
      const names = ['docker.io/library/alpine', 'docker.io/library/alpine-x', 'ghcr.io/o/r']
      const held = digests(3)
      for (const each of names.toReversed()) {
        await store.addLinks(each, [...held.map((of) => link(of)), ...held.map((of) => link(of, 'manifest'))])
      }
      const all = names.flatMap((each) =>
        (['blob', 'manifest'] as const).flatMap((kind) => held.map((of) => ({ repository: each, kind, digest: of }))),
      )
      for (const prefix of ['', 'docker.io/', names[1] ?? '', 'g', 'z']) {
        const seen: Holding[] = []
        for (;;) {
          const page = await index.holdings(prefix, seen.at(-1), 4)
          if (page.length === 0) break
          assert.ok(page.length <= 4)
          seen.push(...page)
        }
        const begin = all.filter((each) => each.repository.startsWith(prefix))
        assert.deepEqual(seen, begin, prefix)
      }
    })
  })

  suite(`${name} lists images:`, () => {
    const names = ['docker.io/library/alpine', 'docker.io/library/alpine-x', 'docker.io/o/r', 'ghcr.io/o/r']

    async function fill(store: MetadataStore): Promise<TaggedImage[]> {
      const images = names.flatMap((each, n) =>
        ['1', 'A', 'latest'].map((tag) => ({
          repository: each,
          tag,
          digest: digest(`${each}:${tag}`),
          mediaType: `application/${n}`,
          checkedAt: n,
        })),
      )
      for (const { repository: of, tag, digest: target, mediaType, checkedAt } of images.toReversed()) {
        await store.setTag(of, tag, tagRecord({ digest: target, mediaType, checkedAt }))
      }
      return images
    }

    check('all of them in order, by an empty prefix', async ({ store, index }) => {
      assert.deepEqual(await index.images('', undefined, 10), [])
      const images = await fill(store)
      assert.deepEqual(await index.images('', undefined, 100), images)
    })

    check('of the repositories that begin with a prefix', async ({ store, index }) => {
      const images = await fill(store)
      for (const prefix of [
        'docker.io/',
        'docker.io/library/alpine',
        names[1] ?? '',
        'g',
        'z',
        '%',
        '*',
        'docker.io0',
      ]) {
        const begin = images.filter((image) => image.repository.startsWith(prefix))
        assert.deepEqual(await index.images(prefix, undefined, 100), begin, prefix)
      }
    })

    check('in pages of any size', async ({ store, index }) => {
      const images = (await fill(store)).filter((image) => image.repository.startsWith('docker.io/'))
      for (const limit of [1, 2, 4, 9]) {
        const seen: TaggedImage[] = []
        for (let after: ImageCursor | undefined; ; after = seen.at(-1)) {
          const page = await index.images('docker.io/', after, limit)
          if (page.length === 0) break
          assert.ok(page.length <= limit)
          seen.push(...page)
        }
        assert.deepEqual(seen, images)
      }
    })

    check('only those with the prefix, even with a cursor of another prefix', async ({ store, index }) => {
      const images = await fill(store)
      const ghcr = images.filter((image) => image.repository.startsWith('ghcr.io/'))
      assert.deepEqual(await index.images('ghcr.io/', { repository: 'a', tag: 'z' }, 100), ghcr)
      assert.deepEqual(await index.images('ghcr.io/', { repository: 'z', tag: 'a' }, 100), [])
    })

    check('without names that no registry has', async ({ store, index }) => {
      const wrong = ['倉庫/画像', 'docker.io/ALPINE', 'alpine', 'docker.io/../a', 'docker.io/a\r\nb']
      for (const each of [...wrong, 'docker.io/a/b']) {
        await store.setTag(each, 'latest', tagRecord())
        await store.setTag(each, 'la test', tagRecord())
        await store.addLinks(each, [link(one)])
      }
      const known = async (listed: Promise<readonly { readonly repository: string }[]>) =>
        (await listed).map((each) => each.repository)
      assert.deepEqual(await known(index.images('', undefined, 9)), ['docker.io/a/b'])
      assert.deepEqual(await known(index.holdings('', undefined, 9)), ['docker.io/a/b'])
      assert.deepEqual(await index.repositoriesOf(one), ['docker.io/a/b'])
    })
  })

  suite(`${name} forgets repositories and old tags:`, () => {
    check('a repository with all its links and tags, and no other', async ({ store, index }) => {
      const blobs = digests(1200)
      await store.addLinks(repository, [...blobs.map((each) => link(each)), link(one, 'manifest')])
      for (const tag of ['a', 'b', 'c']) await store.setTag(repository, tag, tagRecord())
      for (const near of [`${repository}-x`, `${repository}/x`, 'docker.io/library/alpin']) {
        await store.addLinks(near, [link(one)])
        await store.setTag(near, 'a', tagRecord())
      }
      assert.equal(await index.deleteRepository(repository), 3)
      assert.equal(await store.tag(repository, 'a'), undefined)
      assert.equal(await store.link(repository, 'manifest', one), undefined)
      assert.deepEqual(await index.repositoriesOf(blobs[0] ?? two), [])
      assert.equal((await index.repositoriesOf(one)).length, 3)
      assert.equal((await index.images('', undefined, 100)).length, 3)
      assert.equal(await index.deleteRepository(repository), 0)
    })

    check('any number of tags not confirmed since a time', async ({ store, index }) => {
      for (let n = 0; n < 1300; n += 1) await store.setTag(repository, `t${n}`, tagRecord({ checkedAt: n }))
      assert.equal(await index.expire(0), 0)
      assert.equal(await index.expire(1201), 1201)
      assert.equal(await store.tag(repository, 't1200'), undefined)
      assert.equal((await store.tag(repository, 't1201'))?.checkedAt, 1201)
      assert.equal((await index.images(repository, undefined, 1000)).length, 99)
    })

    check('a tag confirmed again is not old', async ({ store, index }) => {
      await store.setTag(repository, 'latest', tagRecord({ checkedAt: 1 }))
      await store.setTag(repository, 'latest', tagRecord({ checkedAt: 9 }))
      assert.equal(await index.expire(9), 0)
      assert.equal(await index.expire(10), 1)
    })

    check('other work runs between the steps of a large deletion', async ({ store, index }) => {
      for (let n = 0; n < 1100; n += 1) await store.setTag(repository, `t${n}`, tagRecord({ checkedAt: n }))
      const expiring = index.expire(2000)
      assert.ok((await index.images('', undefined, 2000)).length > 0)
      assert.equal(await expiring, 1100)
    })
  })

  suite(`${name} keeps pins:`, () => {
    check('each once, in order, until it is deleted', async ({ index }) => {
      assert.deepEqual(await index.pins(), [])
      assert.equal(await index.addPin('ghcr.io/*'), true)
      assert.equal(await index.addPin('docker.io/library/alpine:3.*'), true)
      assert.equal(await index.addPin('ghcr.io/*'), false)
      assert.deepEqual(await index.pins(), ['docker.io/library/alpine:3.*', 'ghcr.io/*'])
      assert.equal(await index.deletePin('ghcr.io/*'), true)
      assert.equal(await index.deletePin('ghcr.io/*'), false)
      assert.deepEqual(await index.pins(), ['docker.io/library/alpine:3.*'])
    })
  })

  suite(`${name} keeps counts:`, () => {
    check('an empty index has none', async ({ index }) => {
      await index.addCounts(0, {})
      assert.deepEqual(await index.totals(), {})
      assert.deepEqual(await index.buckets(0), [])
    })

    check('sums in total, and by bucket', async ({ index }) => {
      await index.addCounts(2000, { hit: 3, miss: 1 })
      await index.addCounts(1000, { hit: 1 })
      await index.addCounts(2000, { hit: 2, bytes: 2 ** 52 })
      assert.deepEqual(await index.totals(), { hit: 6, miss: 1, bytes: 2 ** 52 })
      assert.deepEqual(await index.buckets(0), [
        { at: 1000, counts: { hit: 1 } },
        { at: 2000, counts: { hit: 5, miss: 1, bytes: 2 ** 52 } },
      ])
      assert.deepEqual(
        (await index.buckets(1001)).map(({ at }) => at),
        [2000],
      )
    })

    check('deleting buckets leaves the totals', async ({ index }) => {
      for (let n = 0; n < 1200; n += 1) await index.addCounts(n, { hit: 1 })
      await index.deleteBuckets(1199)
      assert.deepEqual(await index.buckets(0), [{ at: 1199, counts: { hit: 1 } }])
      assert.deepEqual(await index.totals(), { hit: 1200 })
      await index.deleteBuckets(1_700_000_000_000)
      assert.deepEqual(await index.buckets(0), [])
    })

    check('fractions and differences', async ({ index }) => {
      await index.addCounts(1_700_000_000_000, { seconds: 0.75, level: 5 })
      await index.addCounts(1_700_000_000_000, { seconds: 0.5, level: -2 })
      assert.deepEqual(await index.buckets(0), [{ at: 1_700_000_000_000, counts: { seconds: 1.25, level: 3 } }])
    })

    check('names of any kind', async ({ index }) => {
      const odd = JSON.parse('{"__proto__": 1, "": 2, "constructor": 3, "a:b c\\u0001\'": 4}')
      await index.addCounts(0, odd)
      assert.deepEqual(Object.entries(await index.totals()).sort(), Object.entries(odd).sort())
    })

    check('either all of the deltas or none', async ({ index }) => {
      await assert.rejects(index.addCounts(0, { hit: 1, miss: Number.NaN }))
      assert.deepEqual(await index.totals(), {})
      assert.deepEqual(await index.buckets(0), [])
    })

    check('the deltas of concurrent writers', async ({ index }) => {
      await Promise.all(Array.from({ length: 200 }, (_, n) => index.addCounts(n % 2, { hit: 1 })))
      assert.deepEqual(await index.totals(), { hit: 200 })
      assert.deepEqual(
        (await index.buckets(0)).map(({ counts }) => counts['hit']),
        [100, 100],
      )
    })
  })
}
