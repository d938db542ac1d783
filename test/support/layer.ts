import { gzipSync } from 'node:zlib'

/** A layer that real clients can unpack: a tar archive of regular files, gzipped; the same files give the same bytes. */
export function tarLayer(files: Readonly<Record<string, string | Buffer>>): Buffer {
  const entries = Object.entries(files).flatMap(([name, content]) => {
    const body = Buffer.from(content)
    return [header(name, body.length), body, Buffer.alloc((block - (body.length % block)) % block)]
  })
  return gzipSync(Buffer.concat([...entries, Buffer.alloc(2 * block)]))
}

const block = 512

/** POSIX ustar: names up to 100 bytes, mode 0755, owned by root, at the epoch. */
function header(name: string, size: number): Buffer {
  const bytes = Buffer.alloc(block)
  bytes.write(name, 0, 100)
  bytes.write('0000755\0', 100)
  bytes.write('0000000\0', 108)
  bytes.write('0000000\0', 116)
  bytes.write(`${size.toString(8).padStart(11, '0')}\0`, 124)
  bytes.write('00000000000\0', 136)
  bytes.write('        ', 148)
  bytes.write('0', 156)
  bytes.write('ustar\x0000', 257)
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return bytes
}
