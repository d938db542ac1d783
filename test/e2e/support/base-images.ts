import { realpath } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { image, type TestImage } from '../../support/image.ts'
import { findProgram } from './programs.ts'
import { type Entry, layerOf, withLibraries } from './stock.ts'
import { Workspace } from './workspace.ts'

/**
 * Stand-ins for the images that deploy/Dockerfile and docker-compose.yml are based on, for machines that do not reach
 * Docker Hub: this machine's own programs, with the libraries that they need, where those images have them.
 */
export interface BaseImages {
  /** For `node:24-slim`: the Node that runs this test, npm, and a shell. */
  readonly node: TestImage
  /** For `redis:7-alpine`. */
  readonly redis: TestImage
}

export async function buildBaseImages(): Promise<BaseImages> {
  await using workspace = await Workspace.create()
  const path = 'PATH=/usr/local/bin:/usr/bin:/bin'
  const npm = dirname(dirname(await realpath(findProgram('npm') ?? '')))
  const node = createRequire(import.meta.url).resolve('node/bin/node')
  const nodeLayer = await layerOf(workspace, {
    ...(await shell(workspace)),
    ...(await withLibraries(node, 'usr/local/bin/node', workspace)),
    'usr/local/lib/node_modules/npm': { copyOf: npm },
    'usr/local/bin/npm': { linkTo: '../lib/node_modules/npm/bin/npm-cli.js' },
    'usr/local/etc/npmrc': Buffer.from(`cafile=${certificates}\n`),
    [certificates.slice(1)]: { copyOf: certificates },
  })
  const redisLayer = await layerOf(workspace, {
    ...(await shell(workspace)),
    ...(await withLibraries(findProgram('redis-server') ?? '', 'usr/local/bin/redis-server', workspace)),
    ...(await withLibraries(findProgram('redis-cli') ?? '', 'usr/local/bin/redis-cli', workspace)),
    'data/.keep': Buffer.alloc(0),
  })
  const trust = [path, `NODE_EXTRA_CA_CERTS=${certificates}`]
  return {
    node: image({ flavour: 'docker', layers: [nodeLayer], config: { config: { Env: trust, Cmd: ['node'] } } }),
    redis: image({
      flavour: 'docker',
      layers: [redisLayer],
      config: { config: { Env: [path], Cmd: ['redis-server'], WorkingDir: '/data' } },
    }),
  }
}

const certificates = '/etc/ssl/certs/ca-certificates.crt'

async function shell(workspace: Workspace): Promise<Record<string, Entry>> {
  const tools = ['sh', 'env', 'mkdir', 'chown', 'cat', 'ls', 'id']
  const links = tools.map((tool) => [`bin/${tool}`, { linkTo: 'busybox' }] as const)
  return {
    ...(await withLibraries(findProgram('busybox') ?? '', 'bin/busybox', workspace)),
    ...Object.fromEntries(links),
    'usr/bin/env': { linkTo: '../../bin/busybox' },
    'tmp/.keep': Buffer.alloc(0),
  }
}
