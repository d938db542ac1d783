import type { Digest } from './digest.ts'

/** The type, digest and size of content (image-spec, descriptor.md). `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}
