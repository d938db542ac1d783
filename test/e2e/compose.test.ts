import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { buildBaseImages } from './support/base-images.ts'
import { eventually } from './support/daemon.ts'
import { DockerRegistry } from './support/docker-registry.ts'
import { Dockerd } from './support/dockerd.ts'
import { MirrorProcess } from './support/mirror-process.ts'
import { freePort } from './support/port.ts'
import { programSuite } from './support/programs.ts'
import { push } from './support/push.ts'
import { run } from './support/run.ts'
import { buildStock, type Stock } from './support/stock.ts'
import { freeSubnet } from './support/subnet.ts'
import { Workspace } from './support/workspace.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const programs = [
  'docker-compose',
  'docker-registry',
  'dockerd',
  'docker',
  'containerd',
  'redis-server',
  'busybox',
  'npm',
]

programSuite('docker-compose up', programs, () => {
  const stack = new AsyncDisposableStack()
  after(() => stack.disposeAsync())
  let stock: Stock
  let hub: DockerRegistry
  let engine: Dockerd
  let workspace: Workspace
  let port: number

  function compose(...args: string[]): Promise<string> {
    const files = ['--file', `${root}/docker-compose.yml`, '--file', workspace.in('override.json')]
    const env = {
      DOCKER_HOST: `unix://${engine.socket}`,
      COMPOSE_PROJECT_NAME: 'entrepot-e2e',
      // Debian's compose would have the docker command build, and that asks for a plugin in some versions.
      COMPOSE_DOCKER_CLI_BUILD: '0',
      ENTREPOT_PORT: String(port),
    }
    return run('docker-compose', [...files, ...args], { home: workspace.path, cwd: root, env, limit: 300 })
  }

  async function inspect(service: string): Promise<Container> {
    const [container] = JSON.parse(await engine.docker('inspect', await idOf(service))) as [Container]
    return container
  }

  async function idOf(service: string): Promise<string> {
    return (await compose('ps', '--quiet', service)).trim()
  }

  async function healthy(service: string): Promise<void> {
    await eventually(
      async () => (await inspect(service)).State.Health?.Status === 'healthy',
      `${service} to be healthy`,
    )
  }

  before(async () => {
    stock = await buildStock()
    const bases = await buildBaseImages()
    hub = stack.use(await DockerRegistry.start({ address: '0.0.0.0' }))
    await push(hub, 'library/node', '24-slim', bases.node)
    await push(hub, 'library/redis', '7-alpine', bases.redis)
    await push(hub, 'library/app', '1', stock.app)
    const mirror = stack.use(await MirrorProcess.start({ upstreams: { 'docker.io': { url: hub.url } } }))
    engine = stack.use(await Dockerd.create(mirror.host))
    workspace = stack.use(await Workspace.create())
    port = await freePort()
    // The network of the composed services; the machine itself is the first address in it.
    const network = await freeSubnet()
    const config = { upstreams: { 'docker.io': { url: `http://${network}.1:${hub.port}`, tagTtl: '0s' } } }
    await writeFile(workspace.in('config.yaml'), JSON.stringify(config))
    const override = {
      services: {
        // Its networks lead nowhere, and npm has to reach its registry.
        mirror: {
          build: { network: 'host' },
          healthcheck: { interval: '2s' },
          volumes: [`${workspace.in('config.yaml')}:/etc/entrepot/config.yaml:ro`],
        },
        redis: { healthcheck: { interval: '2s' } },
      },
      networks: { default: { ipam: { config: [{ subnet: `${network}.0/24` }] } } },
    }
    await writeFile(workspace.in('override.json'), JSON.stringify(override))
    stack.defer(async () => {
      await compose('down', '--volumes', '--timeout', '5')
    })
    await compose('up', '--detach', '--build')
  })

  /** A new engine, with nothing in it, that has the composed mirror for its only one. */
  async function pullApp(): Promise<void> {
    await using client = await Dockerd.create(`127.0.0.1:${port}`)
    await client.pull('docker.io/library/app:1')
    const { id } = await client.held('docker.io/library/app:1')
    assert.equal(id, stock.app.images[0]?.config.digest)
    assert.equal(await client.run('docker.io/library/app:1'), 'hello from app\n')
  }

  test('the mirror and Redis become healthy, and a pull goes through', async () => {
    await healthy('mirror')
    await healthy('redis')
    await pullApp()
    const keys = await engine.docker('exec', await idOf('redis'), 'redis-cli', 'keys', 'entrepot:tag:*')
    assert.match(keys, /docker\.io\/library\/app/, 'Redis has the tag')
  })

  test('it runs as no one special, on a root it cannot write to, and without what only developers need', async () => {
    const { Config, HostConfig } = await inspect('mirror')
    assert.equal(Config.User, '1000:1000')
    assert.equal(HostConfig.ReadonlyRootfs, true)
    assert.equal(HostConfig.Memory, 1024 ** 3)
    const packages = (await engine.docker('exec', await idOf('mirror'), 'ls', '/app/node_modules')).split('\n')
    assert.ok(packages.includes('koa'))
    const { devDependencies } = JSON.parse(await readFile(`${root}/package.json`, 'utf8'))
    const unwanted = Object.keys(devDependencies).filter((name) => packages.includes(name))
    assert.deepEqual(unwanted, [])
  })

  test('after a restart, with the upstream off, the same pull comes from the volume', async () => {
    await hub.stop()
    await compose('restart')
    await healthy('mirror')
    await pullApp()
  })

  test('without Redis too', async () => {
    await compose('stop', 'redis')
    await pullApp()
    await compose('start', 'redis')
  })

  test('a signal to stop reaches it, and it ends in order', async () => {
    const id = await idOf('mirror')
    await compose('stop', 'mirror')
    const [{ State }] = JSON.parse(await engine.docker('inspect', id)) as [Container]
    assert.equal(State.ExitCode, 0)
    assert.match(await engine.docker('logs', id), /"reason":"SIGTERM"/)
  })
})

interface Container {
  readonly State: { readonly Health?: { readonly Status: string }; readonly ExitCode: number }
  readonly Config: { readonly User: string }
  readonly HostConfig: { readonly ReadonlyRootfs: boolean; readonly Memory: number }
}
