import type { Digest } from './digest.ts'

/** What content is, where it is found and how large it is (image-spec, descriptor.md). `size` in bytes. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}
