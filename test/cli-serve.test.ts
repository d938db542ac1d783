import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { entrepot, type RunningProgram, start } from './support/program.ts'
import { tempDir } from './support/temp.ts'
import { until } from './support/wait.ts'

const local = { ENTREPOT_LISTEN: '127.0.0.1:0', ENTREPOT_ADMIN_LISTEN: '127.0.0.1:0' }

/** Where it listens, once it says so. */
async function addressOf(program: RunningProgram): Promise<string> {
  return JSON.parse(await program.printed(/^\{.*"listen":.*\}$/m)).listen
}

/** Takes connections and never says a word. */
async function silentServer(): Promise<{ server: Server; port: number } & AsyncDisposable> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const sockets = new Set<{ destroy(): void }>()
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})))
  return {
    server,
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} stops the mirror cleanly, even if it comes twice at once`, async () => {
    await using dir = await tempDir()
    await using program = start(['serve'], { ...local, ENTREPOT_STORAGE_PATH: dir.path })
    await addressOf(program)
    program.child.kill(signal)
    program.child.kill(signal)
    const { status, err } = await program.ended
    assert.deepEqual([status, err], [0, ''])
  })
}

test('a second signal ends a mirror that waits for a client', async () => {
  await using dir = await tempDir()
  await using upstream = await silentServer()
  const file = `${dir.path}/config.yaml`
  await writeFile(file, `upstreams: {docker.io: {url: "http://127.0.0.1:${upstream.port}"}}`)
  const asked = new Promise<void>((resolve) => upstream.server.once('connection', () => resolve()))
  await using program = start(['serve', '--config', file], { ...local, ENTREPOT_STORAGE_PATH: `${dir.path}/data` })
  const request = get(`http://${await addressOf(program)}/v2/library/alpine/manifests/latest`)
  request.on('error', () => {})
  await asked
  program.child.kill('SIGTERM')
  await until(() => {
    program.child.kill('SIGTERM')
    return program.child.exitCode !== null
  }, 'the end of the program')
  assert.equal((await program.ended).status, 1)
})

test('a port in use fails the start, in one line', async () => {
  await using dir = await tempDir()
  await using taken = await silentServer()
  const environment = { ...local, ENTREPOT_STORAGE_PATH: dir.path, ENTREPOT_LISTEN: `127.0.0.1:${taken.port}` }
  const { status, err } = await entrepot(['serve'], environment)
  assert.equal(status, 1)
  assert.match(err, new RegExp(`^entrepot: .*127\\.0\\.0\\.1:${taken.port}.*\n$`))
})

/** The command line and environment of a process, from /proc. */
async function startOf({ child }: RunningProgram): Promise<{ flags: string[]; environment: string[] }> {
  const parts = async (file: string) => (await readFile(`/proc/${child.pid}/${file}`, 'utf8')).split('\0')
  const line = await parts('cmdline')
  const program = line.findIndex((part) => part.endsWith('entrepot.cjs'))
  return { flags: line.slice(1, program), environment: await parts('environ') }
}

test('the mirror restarts itself with its own Node flags and environment', async () => {
  await using dir = await tempDir()
  await using program = start(['serve'], { ...local, ENTREPOT_STORAGE_PATH: dir.path })
  await addressOf(program)
  const { flags, environment } = await startOf(program)
  assert.deepEqual(flags, ['--max-semi-space-size=8'])
  assert.ok(environment.includes('UV_THREADPOOL_SIZE=16'))
  assert.ok(environment.includes('MALLOC_ARENA_MAX=2'))
})

test('compiled code is kept for the next start, in the folder that the environment names', async () => {
  await using dir = await tempDir()
  const environment = { ...local, NODE_COMPILE_CACHE: join(dir.path, 'compiled') }
  await using program = start(['serve'], { ...environment, ENTREPOT_STORAGE_PATH: join(dir.path, 'data') })
  await addressOf(program)
  await until(async () => {
    const kept = await readdir(environment.NODE_COMPILE_CACHE, { recursive: true }).catch(() => [])
    return kept.length > 50
  }, 'the compiled files of a running mirror')
  assert.ok((await startOf(program)).environment.includes(`NODE_COMPILE_CACHE=${environment.NODE_COMPILE_CACHE}`))
})

test('an unwritable folder for compiled code does not stop the start', async () => {
  await using dir = await tempDir()
  const file = join(dir.path, 'file')
  await writeFile(file, '')
  const environment = { ...local, NODE_COMPILE_CACHE: join(file, 'compiled') }
  await using program = start(['serve'], { ...environment, ENTREPOT_STORAGE_PATH: join(dir.path, 'data') })
  await addressOf(program)
})

test('flags and variables set by the user are kept', async () => {
  await using dir = await tempDir()
  const byHand = { NODE_OPTIONS: '--max-semi-space-size=32', UV_THREADPOOL_SIZE: '8' }
  await using program = start(['serve'], { ...local, ...byHand, ENTREPOT_STORAGE_PATH: dir.path })
  await addressOf(program)
  const { flags, environment } = await startOf(program)
  assert.deepEqual(flags, [])
  assert.ok(environment.includes('UV_THREADPOOL_SIZE=8'))
})
