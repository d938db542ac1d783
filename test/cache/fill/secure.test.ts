import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { selfSigned } from '../../support/certificate.ts'
import { get } from '../../support/client.ts'
import { randomBlob } from '../../support/image.ts'
import { start } from '../../support/program.ts'
import { tempDir } from '../../support/temp.ts'
import { TestUpstream } from '../../support/upstream.ts'
import { repository } from '../support/house.ts'
import { configure } from '../support/process.ts'

describe('a blob from an upstream over TLS', () => {
  for (const trusted of [true, false]) {
    const fate = trusted
      ? 'comes through a thread that trusts NODE_EXTRA_CA_CERTS'
      : 'does not come where nobody vouches for it'
    it(fate, async () => {
      await using dir = await tempDir()
      const identity = selfSigned()
      await using upstream = await TestUpstream.start({ identity })
      const certificate = join(dir.path, 'certificate.pem')
      await writeFile(certificate, identity.cert)
      const environment = trusted ? { NODE_EXTRA_CA_CERTS: certificate } : {}
      const program = start(['serve', '--config', await configure(dir.path, upstream.url)], environment)
      await using _program = program
      const { listen } = JSON.parse(await program.printed(/^.*"msg":"listening".*$/m)) as { listen: string }
      const digest = upstream.addBlob(repository, randomBlob(3_000_000))
      const got = await get(`http://${listen}/v2/${repository}/blobs/${digest}`)
      if (trusted) assert.deepEqual([got.status, got.complete, got.digest], [200, true, digest])
      else assert.deepEqual([got.status, upstream.count({ kind: 'blob' })], [503, 0])
    })
  }
})
