import { digestOf } from '../../../src/oci/digest.ts'
import { ociIndex } from '../../../src/oci/media-type.ts'
import { image, randomBlob } from '../../support/image.ts'
import { given, type KnownFault, openedByPage } from './known-fault.ts'

const secret = randomBlob(50_000, 7)
const digest = digestOf(secret)
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size: secret.length }

/** What a manifest names is taken for what its repository holds. */
export const rights: readonly KnownFault[] = [
  {
    id: 'claim-opens-other-repository',
    fault: 'A blob of one repository comes out through another one that only names it in a manifest.',
    should: 'A repository serves what it has proven to hold; what its manifests name is asked of the upstream.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addBlob('team/owner', secret)
      // The upstream accepts manifests that name what it does not have.
      const sparse = image({ layers: [], described: [layer] })
      upstream.addImage('team/other', 'latest', sparse)
      const mirror = await world.mirror(upstream)
      given((await mirror.blob('team/owner', digest)).digest === digest, 'the blob is not stored')
      await mirror.keeps(1)
      given((await mirror.manifest('team/other', 'latest')).status === 200, 'the manifest is not stored')
      const { status, digest: got } = await mirror.blob('team/other', digest)
      return status === 200 && got === digest ? 'the blob' : `${status}`
    },
    today: 'the blob',
    right: '404',
  },
  {
    id: 'claim-is-a-hit-to-head',
    fault: 'A HEAD of a blob that the upstream never had is answered as a hit, since a manifest names it.',
    should: 'The HEAD is asked of the upstream and is 404.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addImage('team/other', 'latest', image({ layers: [], described: [layer] }))
      const mirror = await world.mirror(upstream)
      given((await mirror.manifest('team/other', 'latest')).status === 200, 'the manifest is not stored')
      return `${(await mirror.blob('team/other', digest, { method: 'HEAD' })).status}`
    },
    today: '200',
    right: '404',
  },
  {
    id: 'page-opens-other-repository',
    fault: 'A sign-in page, as the answer to a HEAD of a blob, counts as proof and opens the blob to its repository.',
    should: 'A page is an outage and proves nothing: no bytes come out through a repository that never held them.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addBlob('team/owner', secret)
      const mirror = await world.mirror(upstream)
      given((await mirror.blob('team/owner', digest)).digest === digest, 'the blob is not stored')
      await mirror.keeps(1)
      const page = { status: 200, body: '<!DOCTYPE html><html></html>', headers: { 'content-type': 'text/html' } }
      upstream.fault({ kind: 'blob', repository: 'team/other' }, page)
      const { status, digest: got } = await mirror.blob('team/other', digest)
      return status === 200 && got === digest ? 'the blob' : status >= 400 ? 'nothing' : `${status}`
    },
    today: 'the blob',
    right: 'nothing',
    tolerates: openedByPage('digest'),
  },
  {
    id: 'layer-in-index-is-absent',
    fault: "A layer that an index names, as in BuildKit's registry cache, is answered as 404 though it exists.",
    should: 'What a child is follows from its own media type: the layer is served.',
    observe: async (world) => {
      const upstream = await world.upstream()
      upstream.addBlob('team/cache', secret)
      const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [layer] }))
      upstream.addManifest('team/cache', { mediaType: ociIndex, body }, 'latest')
      const mirror = await world.mirror(upstream)
      given((await mirror.manifest('team/cache', 'latest')).status === 200, 'the index is not stored')
      return `${(await mirror.blob('team/cache', digest)).status}`
    },
    today: '404',
    right: '200',
  },
]
