import { readFile } from 'node:fs/promises'

/**
 * A network for containers, as `10.213.N`, that this machine has no route into. A test that was killed leaves a bridge
 * with the network it had, and what is sent there is lost.
 */
export async function freeSubnet(): Promise<string> {
  const routes = (await readFile('/proc/net/route', 'utf8')).split('\n').map((line) => line.split('\t')[1])
  for (let number = 0; number < 256; number += 1) {
    // The kernel writes an address as one number in hexadecimal, with its last byte first.
    const network = `00${number.toString(16).padStart(2, '0')}D50A`.toUpperCase()
    if (!routes.includes(network)) return `10.213.${number}`
  }
  throw new Error('there are routes into every network of 10.213.0.0/16')
}
