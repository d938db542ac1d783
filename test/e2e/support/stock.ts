import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { allOf, synthetic } from '../../support/bytes.ts'
import { image, index, type TestImage, type TestIndex } from '../../support/image.ts'
import { findProgram } from './programs.ts'
import { run, runForBytes } from './run.ts'
import { Workspace } from './workspace.ts'

/** The images that the suites pull. The same bytes in every run, but for the programs in them. */
export interface Stock {
  /** A Docker manifest list for two platforms, four layers each; says `hello from app` when it is run. */
  readonly app: TestIndex
  /** An OCI index for two platforms, which shares a layer with `app`; says `hello from tool`. */
  readonly tool: TestIndex
}

export async function buildStock(): Promise<Stock> {
  await using workspace = await Workspace.create()
  const program = await withLibraries(findProgram('busybox') ?? '', 'bin/busybox', workspace)
  const busybox = await layerOf(workspace, program)
  const words = await layerOf(workspace, {
    'bin/sh': { linkTo: 'busybox' },
    'etc/motd': Buffer.from('kept for re-export\n'),
    'srv/empty': Buffer.alloc(0),
  })
  const layers = (seed: number) => noise(workspace, 1_500_000, seed)
  const app = index(
    await Promise.all(
      platforms.map(async (platform, n) => {
        const own = [await layers(10 + n), await layers(20 + n)]
        return image({
          flavour: 'docker',
          platform,
          layers: [busybox, words, ...own],
          config: saying('hello from app'),
        })
      }),
    ),
    'docker',
  )
  const tool = index(
    await Promise.all(
      platforms.map(async (platform, n) =>
        image({ platform, layers: [busybox, await layers(30 + n)], config: saying('hello from tool') }),
      ),
    ),
  )
  return { app, tool }
}

export const bigLayerSize = 208 * 1024 * 1024

/** One OCI manifest with a small layer, and one of more than 200 MB that no compression makes smaller. */
export async function buildBig(): Promise<TestImage> {
  await using workspace = await Workspace.create()
  return image({ layers: [await noise(workspace, 300_000, 50), await noise(workspace, bigLayerSize, 40)] })
}

/** It is not worth compressing. */
function noise(workspace: Workspace, size: number, seed: number): Promise<Buffer> {
  return layerOf(workspace, { 'srv/noise': allOf(synthetic(size, seed)) }, { level: 0 })
}

const platforms = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
] as const

/** A file's content, the path of a file or folder to copy, or where a link leads. */
export type Entry = Buffer | { readonly copyOf: string } | { readonly linkTo: string }

/** What the programs that make images make: directories, links and all, in a gzipped tar archive. */
export async function layerOf(
  workspace: Workspace,
  entries: Readonly<Record<string, Entry>>,
  { level = 1 } = {},
): Promise<Buffer> {
  const folder = workspace.in(`layer-${crypto.randomUUID()}`)
  for (const [name, entry] of Object.entries(entries)) {
    const path = join(folder, name)
    await mkdir(dirname(path), { recursive: true })
    if (Buffer.isBuffer(entry)) await writeFile(path, entry)
    else if ('copyOf' in entry) await cp(entry.copyOf, path, { recursive: true, dereference: true })
    else await symlink(entry.linkTo, path)
  }
  const archive = await runForBytes('tar', [...reproducible, '--create', '--directory', folder, '.'], {
    home: workspace.path,
  })
  return gzipSync(archive, { level })
}

/** A program, and the libraries that the loader finds for it here, at the same paths. */
export async function withLibraries(
  program: string,
  target: string,
  workspace: Workspace,
): Promise<Record<string, Entry>> {
  // A static program has none, and ldd calls that a failure.
  const listed = await run('ldd', [program], { home: workspace.path }).catch(() => '')
  const libraries = [...listed.matchAll(/(\/\S+) \(0x/g)].map(([, library = '']) => library)
  return {
    ...Object.fromEntries(libraries.map((library) => [library.slice(1), { copyOf: library }])),
    [target]: { copyOf: program },
  }
}

const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u+rw,go=rX']

function saying(text: string) {
  return { config: { Env: ['PATH=/bin'], Cmd: ['/bin/busybox', 'echo', text] } }
}
