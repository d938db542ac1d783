import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rm, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { start } from './support/program.ts'
import { type TempDir, tempDir } from './support/temp.ts'

const run = promisify(execFile)
const root = fileURLToPath(new URL('..', import.meta.url))
const { version, bin } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
  version: string
  bin: { entrepot: string }
}

/** The package as npm packs it, unpacked in the folder `package` of an empty place, with the packages it depends on. */
async function unpackedPackage(): Promise<TempDir> {
  await using stack = new AsyncDisposableStack()
  const dir = stack.use(await tempDir())
  const checkout = join(dir.path, 'checkout')
  await mkdir(checkout)
  for (const name of ['package.json', 'README.md', 'CHANGELOG.md', 'LICENSE', 'deploy', 'src', 'tsconfig.json']) {
    await cp(join(root, name), join(checkout, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(checkout, 'node_modules'))
  await symlink(join(root, 'node_modules'), join(dir.path, 'node_modules'))
  const env = { ...process.env, npm_config_cache: join(dir.path, 'npm'), npm_config_update_notifier: 'false' }
  await run('npm', ['pack', '--pack-destination', dir.path], { cwd: checkout, env })
  await rm(checkout, { recursive: true })
  const [tarball = ''] = (await readdir(dir.path)).filter((name) => name.endsWith('.tgz'))
  await run('tar', ['--extract', '--file', tarball], { cwd: dir.path })
  stack.move()
  return dir
}

test('the package that npm packs', async (t) => {
  await using dir = await unpackedPackage()
  const folder = join(dir.path, 'package')
  const command = join(folder, bin.entrepot)

  await t.test('has the client files and the notices, and nothing that works in a checkout alone', async () => {
    const files = await readdir(folder, { recursive: true })
    for (const name of ['LICENSE', 'CHANGELOG.md', 'deploy/config.example.yaml', 'deploy/clients/docker/daemon.json']) {
      assert.ok(files.includes(name), name)
    }
    assert.deepEqual(
      files.filter((name) => /^(?:src|test|deploy\/Dockerfile|deploy\/compose)|\.(?:ts|map|tgz)$/.test(name)),
      [],
    )
  })

  await t.test('has a command that a shell can start', async () => {
    // npm makes it executable when it installs the package, and so does this.
    await run('chmod', ['+x', command])
    const env = { PATH: `${dirname(process.execPath)}:${process.env['PATH']}` }
    assert.equal((await run(command, ['version'], { env })).stdout, `entrepot ${version}\n`)
  })

  await t.test('serves', async () => {
    const local = { ENTREPOT_LISTEN: '127.0.0.1:0', ENTREPOT_ADMIN_LISTEN: '127.0.0.1:0' }
    await using program = start(['serve'], { ...local, ENTREPOT_STORAGE_PATH: join(dir.path, 'data') }, command)
    const { listen } = JSON.parse(await program.printed(/^\{.*"listen":.*\}$/m)) as { listen: string }
    assert.equal((await fetch(`http://${listen}/v2/`)).status, 200)
    program.child.kill('SIGTERM')
    assert.deepEqual(await program.ended.then(({ status, err }) => [status, err]), [0, ''])
  })
})
