import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ClientKind } from './support/client.ts'
import { containerd } from './support/containerd.ts'
import { eventually } from './support/daemon.ts'
import { dockerd } from './support/dockerd.ts'
import { MirrorProcess } from './support/mirror-process.ts'
import { podman } from './support/podman.ts'
import { programSuite } from './support/programs.ts'
import { skopeo } from './support/skopeo.ts'

const kinds: readonly ClientKind[] = [dockerd, containerd, podman, skopeo]
const programs = ['dockerd', 'docker', 'containerd', 'ctr', 'podman', 'skopeo']

programSuite('the probe image', programs, () => {
  test('is pulled by every client through its mirror, and by none of them past it', async () => {
    // The upstream is nowhere: what comes, comes from the mirror.
    await using mirror = await MirrorProcess.start({ upstreams: { 'docker.io': { url: 'http://127.0.0.1:9' } } })
    const { probe } = await mirror.ask<{ probe: string }>('/api/stats')
    assert.match(probe, /^entrepot\/probe:[0-9a-f]{16}$/)
    await using clients = new AsyncDisposableStack()
    for (const { name, create } of kinds) {
      const client = clients.use(await create(mirror.host))
      await client.pull(`docker.io/${probe}`)
      const { diffIds } = await client.held(`docker.io/${probe}`)
      assert.equal(diffIds.length, 1, name)
      await assert.rejects(client.pull('docker.io/entrepot/probe:other'), name)
    }
    const pulled = () => mirror.log.filter(({ msg }) => String(msg).startsWith('probe pulled'))
    const agents = () => new Set(pulled().map(({ userAgent }) => String(userAgent).split('/')[0]))
    const expected = ['docker', 'containerd', 'containers', 'skopeo']
    await eventually(() => expected.every((agent) => agents().has(agent)), 'a line for every client')
  })
})
