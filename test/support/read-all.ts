import type { BodyReader } from '../../src/storage/body-reader.ts'

/** To the end, and closes it. */
export async function readAll(reader: BodyReader): Promise<Buffer> {
  const chunks: Buffer[] = []
  try {
    for (let chunk = await reader.read(); chunk; chunk = await reader.read()) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } finally {
    await reader.close()
  }
}
