import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { configOf, platformOf, platformsOf } from '../../src/oci/platform.ts'

const digest = `sha256:${'0'.repeat(64)}`

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

suite('Platforms', () => {
  test('of an index are listed in its order, without attestations', () => {
    const platforms = [
      { os: 'linux', architecture: 'arm', variant: 'v7' },
      { os: 'unknown', architecture: 'unknown' },
      { os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' },
      { os: 'linux' },
      { os: 'linux', architecture: 'a/b' },
      undefined,
    ]
    const manifests = platforms.map((platform) => ({ digest, platform }))
    assert.deepEqual(platformsOf(json({ manifests })), [
      { platform: 'linux/arm/v7', digest },
      { platform: 'windows/amd64', digest },
    ])
  })

  test('of an image are in its config, which the manifest names', () => {
    assert.equal(platformOf(json({ os: 'linux', architecture: 'amd64', variant: '' })), 'linux/amd64')
    assert.equal(configOf(json({ config: { digest } })), digest)
  })

  test('of invalid content are empty', () => {
    for (const text of [
      '',
      'null',
      '[]',
      '{',
      '{"manifests":1}',
      '{"manifests":[1,null,{}]}',
      '{"config":{"digest":1}}',
    ]) {
      const body = Buffer.from(text)
      assert.deepEqual([platformsOf(body), platformOf(body), configOf(body)], [[], undefined, undefined])
    }
  })
})
