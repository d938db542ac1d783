import { digestOf } from '../../../src/oci/digest.ts'
import { image, randomBlob } from '../../support/image.ts'
import { given, type KnownFault } from './known-fault.ts'

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
]
