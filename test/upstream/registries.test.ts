import assert from 'node:assert/strict'
import { test } from 'node:test'
import { image, index } from '../support/image.ts'
import { artifactory, distribution, ecr, gitlab, harbor, nexus, publicEcr } from '../support/presets.ts'
import { TestUpstream } from '../support/upstream.ts'
import { digestOfSource, neverAborted, pull, refused, Subject, type SubjectOptions } from './subject.ts'

interface Profile {
  readonly start: () => Promise<TestUpstream>
  /** For the upstream under test; anonymous and for everybody unless given. */
  readonly options?: SubjectOptions
  /** An absent repository is refused, and so is told as such. */
  readonly hidesAbsent?: true
  /** What a second check of a tag that has not moved sends. */
  readonly check?: readonly string[]
}

const aws: SubjectOptions = { credential: { username: 'AWS', password: 'token' }, privateRepositories: 'serve' }
const profiles: Readonly<Record<string, Profile>> = {
  'Docker Hub': { start: TestUpstream.dockerHub, hidesAbsent: true },
  'ghcr.io': { start: TestUpstream.ghcr, hidesAbsent: true },
  // quay.io's HEAD says no digest, and it sends no ETag: a GET is all there is.
  'quay.io': { start: TestUpstream.quay, check: ['GET'] },
  'registry.k8s.io': { start: TestUpstream.registryK8s },
  'ECR, private': { start: () => TestUpstream.start(ecr), options: aws },
  'ECR, public': { start: () => TestUpstream.start(publicEcr) },
  GitLab: { start: () => TestUpstream.start(gitlab), hidesAbsent: true },
  Harbor: { start: () => TestUpstream.start(harbor) },
  Nexus: { start: () => TestUpstream.start(nexus), check: ['GET'] },
  Artifactory: { start: () => TestUpstream.start(artifactory) },
  distribution: { start: () => TestUpstream.start(distribution) },
}

for (const [name, { start, options = {}, hidesAbsent, check = ['HEAD'] }] of Object.entries(profiles)) {
  const visibility = options.privateRepositories === 'serve' ? 'unproven' : 'public'
  test(`${name}: an image by tag, end to end`, async () => {
    await using test = await start()
    await using subject = new Subject(test, options)
    const added = image()
    const root = test.addImage('library/alpine', 'latest', index([added]))
    const found = await subject.resolve('library/alpine', 'latest', undefined, neverAborted())
    assert.equal(
      found?.kind === 'descriptor' ? found.descriptor.digest : found?.kind === 'manifest' && found.manifest.digest,
      root,
    )
    const top = await subject.manifest('library/alpine', { tag: 'latest' }, neverAborted())
    assert.deepEqual(
      [top?.digest, top?.mediaType, top?.visibility],
      [root, 'application/vnd.oci.image.index.v1+json', visibility],
    )
    const child = await subject.manifest('library/alpine', { digest: added.manifest.digest }, neverAborted())
    assert.deepEqual(child?.body, added.manifest.body)
    for (const { digest, size, body } of [added.config, ...added.layers]) {
      assert.deepEqual(await subject.statBlob('library/alpine', digest, neverAborted()), { size, visibility })
      const source = await subject.blob('library/alpine', digest, { start: 0, end: undefined }, neverAborted())
      assert.equal(source?.size, size)
      assert.equal(await digestOfSource(source), digest)
      const part = await subject.blob('library/alpine', digest, { start: 7, end: 20 }, neverAborted())
      assert.deepEqual(Buffer.concat(part ? await Array.fromAsync(part.body) : []), body.subarray(7, 21))
    }
  })

  test(`${name}: a missing tag, manifest and blob are absent`, async () => {
    await using test = await start()
    await using subject = new Subject(test, options)
    const { layers, manifest } = image()
    test.addBlob('library/alpine', Buffer.from('something'))
    const digest = layers[0]?.digest ?? assert.fail()
    for (const repository of ['library/alpine', 'library/nothing']) {
      const absence = hidesAbsent && repository === 'library/nothing' ? refused.code : undefined
      const tag = subject.resolve(repository, 'latest', undefined, neverAborted())
      assert.equal(await tag.catch(({ code }) => code), absence)
      const byDigest = subject.manifest(repository, { digest: manifest.digest }, neverAborted())
      assert.equal(await byDigest.catch(({ code }) => code), absence)
      assert.equal(await subject.statBlob(repository, digest, neverAborted()), undefined)
      assert.equal(await pull(subject, repository, digest), 'absent')
    }
    assert.equal(subject.restsUntil, undefined)
  })

  test(`${name}: a second check of a tag sends one ${check}, and nothing else`, async () => {
    await using test = await start()
    await using subject = new Subject(test, options)
    const root = test.addImage('library/alpine', 'latest', image())
    const first = await subject.manifest('library/alpine', { tag: 'latest' }, neverAborted())
    const known = { digest: root, etag: first?.etag }
    await subject.resolve('library/alpine', 'latest', known, neverAborted())
    const where = test.target ?? test
    where.reset()
    const again = await subject.resolve('library/alpine', 'latest', known, neverAborted())
    const currency = { age: 0, warning: undefined }
    assert.deepEqual(again, { kind: 'unchanged', currency })
    const asked = where.requests.map(({ method }) => method)
    assert.deepEqual(asked, check)
  })
}

test('registry.k8s.io: the registry behind its redirect gets one anonymous token', async () => {
  await using test = await TestUpstream.registryK8s()
  await using subject = new Subject(test, {
    credential: { username: 'us', password: 'secret' },
    privateRepositories: 'serve',
  })
  const added = image()
  test.addImage('pause', '3.9', added)
  await subject.manifest('pause', { tag: '3.9' }, neverAborted())
  for (const { digest } of added.layers) assert.equal(await pull(subject, 'pause', digest), digest)
  assert.equal(test.target?.count({ kind: 'token' }), 1)
  assert.equal(test.target?.count({ kind: 'token', authorization: 'none' }), 1)
  assert.equal(test.count({ kind: 'token' }), 0)
  assert.ok(
    test.target?.requests.every(({ authorization }) => authorization === 'none' || authorization === 'anonymous'),
  )
})

test('Docker Hub: status shows what is left of the rate limit', async () => {
  await using test = await TestUpstream.dockerHub({ rateLimit: { limit: 100, window: 21600 } })
  await using subject = new Subject(test)
  assert.equal(subject.status().rateLimit, null)
  test.addImage('library/alpine', 'latest', image())
  await subject.manifest('library/alpine', { tag: 'latest' }, neverAborted())
  const { rateLimit, requests, errors, state, name } = subject.status()
  assert.deepEqual(rateLimit, { limit: 100, remaining: 99, window: 21600 })
  assert.deepEqual([name, state, requests, errors], ['registry.test', 'ok', test.count(), 0])
})
