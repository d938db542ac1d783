import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { UpstreamError } from '../oci/error.ts'
import { readWhole } from './transfer/body.ts'
import { contentEncodingOf, contentLengthOf, type Response } from './transfer/response.ts'

/** registry.access.redhat.com compresses some answers although we ask for `identity`. */
const decoders = new Map([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
])

/**
 * The whole body with its content coding undone. `limit` in bytes, as sent and as decoded; `asked` is the request, in words.
 * Rejects with UpstreamError.
 */
export async function readDecoded(
  { headers, body }: Response,
  limit: number,
  request: { readonly upstream: string; readonly asked: string },
): Promise<Buffer> {
  const { upstream, asked } = request
  const bytes = await readWhole(body, contentLengthOf(headers), limit, request)
  const coding = contentEncodingOf(headers)
  if (coding === undefined || bytes.length === 0) return bytes
  const decode = decoders.get(coding)
  if (!decode) throw new UpstreamError(upstream, 'protocol', `${asked}: answer in an unknown content coding`)
  try {
    return await decode(bytes, { maxOutputLength: limit })
  } catch (cause) {
    throw new UpstreamError(upstream, 'protocol', `${asked}: answer with a broken content coding`, { cause })
  }
}
