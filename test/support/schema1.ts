import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { signedSchema1 } from '../../src/oci/media-type.ts'

export interface Signed {
  readonly mediaType: string
  readonly body: Buffer
  /** Of the payload, without the signatures. */
  readonly digest: Digest
}

/** Docker's schema 1, signed as docker/libtrust does it; the signature itself is none. */
export function signedManifest(name: string, layers: readonly Digest[]): Signed {
  const document = {
    schemaVersion: 1,
    name,
    tag: 'latest',
    architecture: 'amd64',
    fsLayers: layers.map((blobSum) => ({ blobSum })),
    history: layers.map((id) => ({ v1Compatibility: JSON.stringify({ id }) })),
  }
  const payload = JSON.stringify(document, null, 3)
  const tail = '\n}'
  const begun = payload.slice(0, -tail.length)
  const encode = (text: string) => Buffer.from(text).toString('base64url')
  const header = { formatLength: Buffer.byteLength(begun), formatTail: encode(tail), time: '2015-01-01T00:00:00Z' }
  const signatures = [
    { header: { alg: 'ES256' }, signature: encode('none'), protected: encode(JSON.stringify(header)) },
  ]
  const body = Buffer.from(`${begun},\n   "signatures": ${JSON.stringify(signatures)}${tail}`)
  return { mediaType: signedSchema1, body, digest: digestOf(Buffer.from(payload)) }
}
