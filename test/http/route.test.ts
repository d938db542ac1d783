import assert from 'node:assert/strict'
import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import Koa from 'koa'
import type { Route, Routing } from '../../src/http/route.ts'
import { registryRoutes } from '../../src/http/routes.ts'
import { type ErrorCode, RegistryError } from '../../src/oci/error.ts'
import { isRepositoryName } from '../../src/oci/reference.ts'

const routing: Routing = {
  basePath: '',
  upstreams: new Set(['docker.io', 'ghcr.io', 'localhost:5001', 'registry.local:5000', 'localhost']),
  defaultUpstream: 'docker.io',
}

const hex = 'a'.repeat(64)
const alpine = 'docker.io/library/alpine'

const koa = new Koa()

/** Rejects with what the routes throw. */
async function routeOf(target: string, changed: Partial<Routing> = {}): Promise<Route> {
  const request = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: target })
  const { promise, resolve } = Promise.withResolvers<Route>()
  const serve = registryRoutes({ ...routing, ...changed }, async (_context, route) => resolve(route))
  await serve(koa.createContext(request, new ServerResponse(request)))
  return await promise
}

/** `upstream/name kind reference [ns]`, or a kind or a code alone. */
async function read(target: string, changed: Partial<Routing> = {}): Promise<string> {
  try {
    const route = await routeOf(target, changed)
    if (!('target' in route)) return route.kind
    const { kind, reference, namespace } = route
    const ns = namespace === undefined ? '' : ` ${namespace}`
    return `${route.target.upstream}/${route.target.name} ${kind} ${reference}${ns}`
  } catch (error) {
    assert.ok(error instanceof RegistryError)
    return error.code
  }
}

type Case = readonly [target: string, is: string | ErrorCode, changed?: Partial<Routing>]

const tables: Readonly<Record<string, readonly Case[]>> = {
  'as clients ask': [
    ['/v2/', 'ping'],
    ['/v2/library/alpine/manifests/3.20', `${alpine} manifests 3.20`], // Docker, containerd store off
    ['/mirror/v2/library/alpine/manifests/3', 'docker.io/mirror/library/alpine manifests 3'], // a prefix is no base path
    ['/docker.io/v2/library/alpine/manifests/3', `${alpine} manifests 3`], // Docker, registry-mirrors with a path
    ['/ghcr.io/v2/', 'ping'],
    ['/v2/library/alpine/manifests/3?ns=docker.io', `${alpine} manifests 3 docker.io`], // containerd, hosts.toml
    [`/v2/library/alpine/blobs/sha256:${hex}?ns=docker.io`, `${alpine} blobs sha256:${hex} docker.io`],
    ['/v2/docker.io/library/alpine/manifests/3?ns=docker.io', `${alpine} manifests 3 docker.io`], // override_path
    ['/v2/a/b/manifests/3?ns=ghcr.io', 'ghcr.io/a/b manifests 3 ghcr.io'], // _default/hosts.toml
    ['/v2/a/b/manifests/3?ns=registry.local:5000', 'registry.local:5000/a/b manifests 3 registry.local:5000'],
    ['/v2/ghcr.io/a/b/manifests/3?ns=ghcr.io', 'ghcr.io/a/b manifests 3 ghcr.io'], // BuildKit, prefix behind /v2
    ['/v2/docker.io/library/alpine/manifests/3', `${alpine} manifests 3`], // podman, CRI-O
    ['/v2/ghcr.io/a/b/c/d/manifests/3', 'ghcr.io/a/b/c/d manifests 3'],
    ['/v2/library/alpine/manifests/3?ns=registry-1.docker.io', `${alpine} manifests 3 registry-1.docker.io`], // regclient
    ['/v2/index.docker.io/library/alpine/manifests/3', `${alpine} manifests 3`], // crane
    ['/v2/alpine/manifests/3', `${alpine} manifests 3`],
  ],
  'names of Docker Hub': [
    ['/v2/index.docker.io/alpine/manifests/3', `${alpine} manifests 3`],
    ['/v2/registry-1.docker.io/alpine/manifests/3', `${alpine} manifests 3`],
    ['/v2/registry.hub.docker.com/alpine/manifests/3', `${alpine} manifests 3`],
    ['/v2/DOCKER.IO/alpine/manifests/3', `${alpine} manifests 3`],
    ['/v2/alpine/manifests/3?ns=Index.Docker.IO', `${alpine} manifests 3 Index.Docker.IO`],
    ['/v2/docker.io/alpine/manifests/3?ns=registry-1.docker.io', `${alpine} manifests 3 registry-1.docker.io`],
    ['/v2/grafana/grafana/manifests/3', 'docker.io/grafana/grafana manifests 3'],
    ['/v2/alpine/manifests/3', 'ghcr.io/alpine manifests 3', { defaultUpstream: 'ghcr.io' }], // no library/ elsewhere
  ],
  'other upstreams': [
    ['/v2/registry.local:5000/a/manifests/3', 'registry.local:5000/a manifests 3'],
    ['/v2/registry.local%3A5000/a/manifests/3', 'registry.local:5000/a manifests 3'],
    ['/v2/localhost:5001/a/manifests/3', 'localhost:5001/a manifests 3'],
    ['/v2/localhost/a/manifests/3', 'localhost/a manifests 3'],
    ['/v2/ghcr.io/manifests/manifests/3', 'ghcr.io/manifests manifests 3'],
    ['/v2/ghcr.io/docker.io/a/manifests/3', 'ghcr.io/docker.io/a manifests 3'],
    ['/v2/docker.io/ghcr.io/a/manifests/3?ns=docker.io', 'docker.io/ghcr.io/a manifests 3 docker.io'],
  ],
  'names that look like resources': [
    ['/v2/manifests/manifests/manifests/manifests', 'docker.io/manifests/manifests manifests manifests'],
    ['/v2/a/blobs/manifests/latest', 'docker.io/a/blobs manifests latest'],
    ['/v2/a/tags/list/tags/list', 'docker.io/a/tags/list tags list'],
    ['/v2/v2/v2/manifests/v2', 'docker.io/v2/v2 manifests v2'],
    ['/v2/a/manifests/blobs/blobs/x', 'docker.io/a/manifests/blobs blobs x'],
    [`/v2/a/referrers/sha256:${hex}`, `docker.io/library/a referrers sha256:${hex}`],
    ['/v2/a/tags/list', 'docker.io/library/a tags list'],
  ],
  'a base path': [
    ['/mirror/v2/', 'ping', { basePath: '/mirror' }],
    ['/mirror/v2', 'ping', { basePath: '/mirror' }],
    ['/mirror/v2/library/alpine/manifests/3', `${alpine} manifests 3`, { basePath: '/mirror' }],
    ['/mirror/ghcr.io/v2/a/manifests/3', 'ghcr.io/a manifests 3', { basePath: '/mirror' }],
    ['/a/b/v2/alpine/manifests/3?ns=docker.io', `${alpine} manifests 3 docker.io`, { basePath: '/a/b' }],
    ['/v2/library/alpine/manifests/3', 'none', { basePath: '/mirror' }],
    ['/mirrors/v2/library/alpine/manifests/3', 'none', { basePath: '/mirror' }],
    ['/mirror', 'none', { basePath: '/mirror' }],
  ],
  'upstreams that are not ours': [
    ['/v2/evil.example/a/manifests/3', 'DENIED'],
    ['/v2/127.0.0.1:80/a/manifests/3', 'DENIED'],
    ['/v2/host:80/a/manifests/3', 'DENIED'],
    ['/v2/localhost/a/manifests/3', 'DENIED', { upstreams: new Set(['docker.io']) }],
    ['/v2/localhost:5002/a/manifests/3', 'DENIED'],
    ['/evil.example/v2/a/manifests/3', 'DENIED'],
    ['/v2/a/manifests/3?ns=evil.example', 'DENIED'],
    ['/v2/a/manifests/3?ns=169.254.169.254', 'DENIED'],
    ['/v2/a/manifests/3?ns=http://docker.io', 'DENIED'],
    ['/v2/a/manifests/3?ns=docker', 'DENIED'],
    ['/v2/a/manifests/3?ns=DOC%E2%84%AAER.IO', 'DENIED'], // in lower case the Kelvin sign is a k
    ['/v2/DOC%E2%84%AAER.IO/a/manifests/3', 'DENIED'],
    ['/v2/docker.io%2Fa/b/manifests/3', 'DENIED'],
    ['/v2/../a/manifests/3', 'DENIED'],
    ['/v2/./a/manifests/3', 'DENIED'],
  ],
  'a namespace that chooses nothing': [
    ['/v2/ghcr.io/a/manifests/3?ns=evil.example', 'ghcr.io/a manifests 3'],
    ['/v2/ghcr.io/a/manifests/3?ns=%0d%0aset-cookie:x', 'ghcr.io/a manifests 3'],
    ['/v2/alpine/manifests/3?ns=', `${alpine} manifests 3`],
    ['/v2/alpine/manifests/3?n=1&&=&%%%', `${alpine} manifests 3`],
    ['/v2/alpine/manifests/3?ns=ghcr.io&ns=docker.io', 'ghcr.io/alpine manifests 3 ghcr.io'],
  ],
  'absolute form': [
    ['http://mirror.local:5000/v2/alpine/manifests/3', `${alpine} manifests 3`],
    ['HTTPS://u:p@mirror.local/v2/alpine/manifests/3?ns=ghcr.io', 'ghcr.io/alpine manifests 3 ghcr.io'],
    ['http://[::1/v2/alpine/manifests/3', `${alpine} manifests 3`],
    ['http://mirror.local', 'none'],
    ['http://mirror.local?/v2/', 'none'],
    ['ftp://mirror.local/v2/', 'none'],
    ['*', 'none'],
  ],
  'what means nothing': [
    ['/', 'none'],
    ['', 'none'],
    ['/v1/_ping', 'none'],
    ['/v2x/', 'none'],
    ['/v2/alpine', 'none'],
    ['/v2/_catalog', 'none'],
    ['/v2/alpine/manifests/', 'none'],
    ['/v2/alpine/tags/', 'none'],
    ['/v2/alpine/tags/all', 'none'],
    ['/v2/manifests/3', 'none'],
    ['/v2/alpine/blobs/uploads/', 'none'],
    ['//v2//', 'none'],
  ],
  'bad names': [
    ['/v2//manifests/3', 'NAME_INVALID'],
    ['//v2/alpine/manifests/3', 'NAME_INVALID'],
    ['/v2//alpine/manifests/3', 'NAME_INVALID'],
    ['/v2/alpine//manifests/3', 'NAME_INVALID'],
    ['/v2/Alpine/manifests/3', 'NAME_INVALID'],
    ['/v2/al pine/manifests/3', 'NAME_INVALID'],
    ['/v2/al%20pine/manifests/3', 'NAME_INVALID'],
    ['/v2/a%2Fb/manifests/3', 'NAME_INVALID'],
    ['/v2/a%2f..%2fb/manifests/3', 'DENIED'],
    ['/v2/a/../b/manifests/3', 'NAME_INVALID'],
    ['/v2/a/%2e%2e/b/manifests/3', 'NAME_INVALID'],
    ['/v2/a%00/manifests/3', 'NAME_INVALID'],
    ['/v2/a%zz/manifests/3', 'NAME_INVALID'],
    ['/v2/a/manifests/%ff', 'NAME_INVALID'],
    ['/v2/a%E2%82/manifests/3', 'NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/manifests/3`, 'NAME_INVALID'],
    ['/v2/docker.io/manifests/3', 'NAME_INVALID'],
    ['/v2/a-/manifests/3', 'NAME_INVALID'],
    ['/v2/a#b/manifests/3', 'NAME_INVALID'],
  ],
  'references as they are, for others to judge': [
    [`/v2/alpine/manifests/sha256%3A${hex}`, `${alpine} manifests sha256:${hex}`],
    ['/v2/alpine/manifests/a%2Fb', `${alpine} manifests a/b`],
    ['/v2/alpine/manifests/%00', `${alpine} manifests \0`],
  ],
}

for (const [title, cases] of Object.entries(tables)) {
  describe(`route: ${title}`, () => {
    for (const [target, is, changed] of cases) {
      it(`${target.slice(0, 80)} is ${is}`.replaceAll('\0', '\\0'), async () =>
        assert.equal(await read(target, changed), is),
      )
    }
  })
}

const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?$/)
const segment = fc.oneof(component, fc.constantFrom('manifests', 'blobs', 'tags', 'list', 'v2', 'referrers'))
/** No dot in the first one: it would be a host. */
const name = fc
  .tuple(
    segment.filter((text) => !text.includes('.') && text !== 'v2'),
    fc.array(segment, { maxLength: 4 }),
  )
  .map(([first, rest]) => [first, ...rest].join('/'))
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/)

describe('route: any', () => {
  it('name and tag come out as they went in, on every way to an upstream', async () => {
    await fc.assert(
      fc.asyncProperty(
        name,
        tag,
        fc.constantFrom('ghcr.io', 'registry.local:5000', 'localhost'),
        async (given, ref, upstream) => {
          const is = `${upstream}/${given} manifests ${ref}`
          assert.equal(await read(`/v2/${upstream}/${given}/manifests/${ref}`), is)
          assert.equal(await read(`/${upstream}/v2/${given}/manifests/${ref}`), is)
          assert.equal(await read(`/v2/${given}/manifests/${ref}?ns=${upstream}`), `${is} ${upstream}`)
          assert.equal(await read(`/v2/${upstream}/${given}/manifests/${ref}?ns=${upstream}`), `${is} ${upstream}`)
          assert.equal(await read(`/${upstream}/v2/${given}/manifests/${ref}?ns=${upstream}`), `${is} ${upstream}`)
          assert.equal(await read(`/v2/${given}/manifests/${ref}`, { defaultUpstream: upstream }), is)
        },
      ),
    )
  })

  it('target is read without a fault, and leads only to upstreams that are ours and names that can be', async () => {
    const piece = fc.oneof(
      fc.constantFrom('v2', 'manifests', 'blobs', 'tags', 'list', 'docker.io', 'ghcr.io', 'evil.example', '..', '%2F'),
      fc.webSegment(),
      fc.string(),
    )
    const target = fc
      .tuple(fc.array(piece, { maxLength: 8 }), fc.option(fc.webQueryParameters(), { nil: '' }), fc.option(piece))
      .map(([path, query, ns]) => `/${path.join('/')}?${query}${ns === null ? '' : `&ns=${ns}`}`)
    await fc.assert(
      fc.asyncProperty(fc.oneof(target, fc.string()), async (given) => {
        try {
          const route = await routeOf(given)
          if (!('target' in route)) return
          assert.ok(routing.upstreams.has(route.target.upstream))
          assert.ok(isRepositoryName(route.target.name.replace(/^library\//, '')))
          if (route.namespace !== undefined) assert.match(route.namespace, /^[!-~]+$/)
        } catch (error) {
          assert.ok(error instanceof RegistryError && ['NAME_INVALID', 'DENIED'].includes(error.code), String(error))
        }
      }),
      { numRuns: 3000 },
    )
  })
})
