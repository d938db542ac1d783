import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { type Bytes, bytesOf, digestOfBytes, synthetic } from '../support/bytes.ts'
import { image, type TestImage } from '../support/image.ts'
import type { Stock } from '../support/stock.ts'
import type { Random } from './random.ts'

/** One blob of one repository, as it really is. */
export interface TrueBlob {
  readonly repository: string
  readonly digest: Digest
  readonly bytes: Bytes
}

export interface TrueManifest {
  readonly repository: string
  readonly digest: Digest
  readonly body: Buffer
  /** Digests of its config and layers. */
  readonly parts: readonly Digest[]
}

/** A tag that moves through its versions, again and again. */
export interface TrueTag {
  readonly repository: string
  readonly tag: string
  readonly versions: readonly TrueManifest[]
  /** Whether the upstream may lie about it: the others must stay right whatever happens elsewhere. */
  readonly fragile: boolean
  /** Whether it stays at its first version: what is pinned has to. */
  readonly still: boolean
}

/** Everything that exists, and so everything that a right answer can hold. The same seed gives the same. */
export interface Catalogue {
  readonly blobs: readonly TrueBlob[]
  readonly manifests: readonly TrueManifest[]
  readonly tags: readonly TrueTag[]
}

const KiB = 1024
const MiB = 1024 * KiB

/** Around the sizes at which buffers, pieces and ways change; and the large ones. */
const edges = [4 * KiB, 16 * KiB, 64 * KiB, 128 * KiB, 256 * KiB, MiB, 4 * MiB]
const sizes = [
  ...[0, 1, 2, 511],
  ...edges.flatMap((edge) => [edge - 1, edge, edge + 1]),
  ...[3 * MiB + 7, 6 * MiB, 9 * MiB + 1, 12 * MiB, 16 * MiB - 1, 24 * MiB, 32 * MiB + 5, 48 * MiB, 64 * MiB],
]
/** Scaled down where the disk is small. */
const largest = 200_000_000

const imageRepositories = ['library/alpha', 'library/beta', 'team/gamma', 'team/delta']
const versions = 3
const stillRepository = 'team/gamma'

/** `disk`: bytes of the file system that has to hold a good part of it. */
export function catalogueOf(random: Random, disk: number | undefined): Catalogue {
  const most = disk === undefined ? largest : Math.min(largest, Math.floor(disk / 4))
  const noise = [...sizes.filter((size) => size < most), most].map((size, at) =>
    blobOf(size, random.between(1, 2 ** 30), at),
  )
  const tags = imageRepositories.flatMap((repository, at) =>
    ['v1', 'latest'].map((tag) =>
      tagOf(repository, tag, { random: random.fork(`${repository}:${tag}`), fragile: at % 2 === 1 }),
    ),
  )
  const images = tags.flatMap(({ built }) => built)
  return {
    blobs: [...noise, ...images.flatMap(({ blobs }) => blobs)],
    manifests: images.map(({ manifest }) => manifest),
    tags: tags.map(({ tag }) => tag),
  }
}

/** Puts it into a registry, every tag at its first version. */
export function publish({ blobs, manifests, tags }: Catalogue, stock: Stock): void {
  for (const { repository, digest, bytes } of blobs) stock.addBytes(repository, bytes, digest)
  for (const { repository, body } of manifests) stock.addManifest(repository, { mediaType: mediaTypeOf(body), body })
  for (const { repository, tag, versions } of tags) {
    const [first] = versions
    if (first) stock.tag(repository, tag, first.digest)
  }
}

function blobOf(size: number, seed: number, at: number): TrueBlob {
  const bytes = synthetic(size, seed)
  return { repository: at % 3 === 0 ? 'bulk/one' : 'bulk/two', digest: digestOfBytes(bytes), bytes }
}

interface BuiltImage {
  readonly manifest: TrueManifest
  readonly blobs: readonly TrueBlob[]
}

function tagOf(
  repository: string,
  tag: string,
  { random, fragile }: { readonly random: Random; readonly fragile: boolean },
): { readonly tag: TrueTag; readonly built: readonly BuiltImage[] } {
  const shared = synthetic(random.between(100_000, 700_000), random.between(1, 2 ** 30))
  const built = Array.from({ length: versions }, (_, version) => {
    const own = synthetic(random.between(1000, 3_000_000), random.between(1, 2 ** 30))
    const layers = [shared, own].map((bytes) => bytes.slice(0, bytes.size))
    return builtOf(repository, image({ layers, config: { author: `${repository}:${tag} ${version}` } }))
  })
  return {
    tag: {
      repository,
      tag,
      fragile,
      still: repository === stillRepository,
      versions: built.map(({ manifest }) => manifest),
    },
    built,
  }
}

function builtOf(repository: string, { manifest, config, layers }: TestImage): BuiltImage {
  const parts = [config, ...layers]
  return {
    manifest: { repository, digest: manifest.digest, body: manifest.body, parts: parts.map(({ digest }) => digest) },
    blobs: parts.map(({ body }) => ({ repository, digest: digestOf(body), bytes: bytesOf(body) })),
  }
}

export function mediaTypeOf(body: Buffer): string {
  return (JSON.parse(body.toString()) as { mediaType: string }).mediaType
}
