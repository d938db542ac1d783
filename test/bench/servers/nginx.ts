import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Digest, hexOf, parseDigest } from '../../../src/oci/digest.ts'
import { ociManifest, octetStream } from '../../../src/oci/media-type.ts'
import type { Certificate } from '../../support/certificate.ts'
import type { Content } from '../content.ts'
import { find } from '../programs.ts'
import { freePort, Process } from './process.ts'
import { registryBlobUrl, registryManifestUrl, type Server } from './server.ts'

export interface NginxSettings {
  readonly dir: string
  readonly content: Content
}

export interface RegistrySettings extends NginxSettings {
  /** Makes it speak TLS, and nothing else. */
  readonly identity?: Certificate
}

/** What was asked of an upstream for one blob. */
export interface Asked {
  readonly gets: number
  /** Body bytes sent. */
  readonly bytes: number
}

type Kind = 'files' | 'registry'

interface Site extends RegistrySettings {
  readonly kind: Kind
  readonly log: string
  readonly locations: string
}

const certificateFile = 'certificate.pem'

/** nginx over the content's files: as plain files, or as the registry that the caches pull from. */
export class Nginx implements Server {
  readonly process: Process
  readonly url: string
  /** The file of what it shows for itself, where it speaks TLS. */
  readonly certificate: string | undefined
  readonly #kind: Kind
  readonly #account: string

  private constructor(process: Process, { kind, dir, identity }: Site, port: number) {
    this.process = process
    this.url = `${identity ? 'https' : 'http'}://127.0.0.1:${port}`
    this.certificate = identity && join(dir, certificateFile)
    this.#kind = kind
    this.#account = join(dir, 'access')
  }

  /** Plain files by sendfile, and a line in the log for each, as Debian ships it; below `/quiet` without that line. */
  static files(settings: NginxSettings): Promise<Nginx> {
    const { dir, content } = settings
    const locations = `
    location / { root ${content.root}; }
    location /quiet/ { access_log off; alias ${content.root}/; }`
    return Nginx.#start({ ...settings, kind: 'files', log: `access_log ${dir}/access combined;`, locations })
  }

  /** A registry that is no bottleneck, and keeps an account. */
  static registry(settings: RegistrySettings): Promise<Nginx> {
    const { dir, content } = settings
    const log = `log_format account '$request_method $request_uri $status $body_bytes_sent'; access_log ${dir}/access account;`
    const locations = `
    location = /v2/ { default_type application/json; return 200 '{}'; }
    location ~ ^/v2/.+/blobs/sha256:(?<hex>[0-9a-f]+)$ {
      root ${content.root};
      add_header Docker-Content-Digest sha256:$hex;
      try_files /blobs/$hex =404;
    }
    location ~ ^/v2/.+/manifests/(?:sha256:|v-)(?<hex>[0-9a-f]+)$ {
      root ${content.root};
      default_type ${ociManifest};
      add_header Docker-Content-Digest sha256:$hex;
      try_files /manifests/$hex =404;
    }`
    return Nginx.#start({ ...settings, kind: 'registry', log, locations })
  }

  static async #start(site: Site): Promise<Nginx> {
    const { kind, dir, log, locations, identity } = site
    await mkdir(dir, { recursive: true })
    const ports = { listen: await freePort(), ready: await freePort() }
    const tls = identity ? await tlsOf(dir, identity) : ''
    const config = join(dir, 'nginx.conf')
    // Its workers would be `nobody`, who cannot read a temporary folder of root's.
    const user = process.getuid?.() === 0 ? 'user root;' : ''
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    await writeFile(
      config,
      `${user}
worker_processes ${Math.min(2, availableParallelism())};
daemon off;
pid ${dir}/pid;
error_log ${dir}/log;
events { worker_connections 4096; }
http {
  sendfile on;
  tcp_nopush on;
  keepalive_requests 10000000;
  types {}
  default_type ${octetStream};
  ${temporary.map((kind) => `${kind}_temp_path ${dir}/${kind};`).join('\n  ')}
  ${log}
  server {
    listen 127.0.0.1:${ports.listen}${identity ? ' ssl' : ''} backlog=1024;
    ${tls}
    ${locations}
  }
  server {
    listen 127.0.0.1:${ports.ready};
    return 200;
  }
}
`,
    )
    const program = find('nginx') ?? 'nginx'
    const args = ['-c', config, '-p', dir, '-e', join(dir, 'log')]
    const ready = `http://127.0.0.1:${ports.ready}/`
    const name = kind === 'files' ? 'nginx' : 'upstream'
    const running = await Process.start({ name, program, args, log: join(dir, 'log') }, ready)
    return new Nginx(running, site, ports.listen)
  }

  get name(): string {
    return this.process.name
  }

  blobUrl(digest: Digest): string {
    return this.#kind === 'registry' ? registryBlobUrl(this.url, digest) : `${this.url}/blobs/${hexOf(digest)}`
  }

  manifestUrl(reference: string): string {
    const digest = parseDigest(reference)
    if (this.#kind === 'registry') return registryManifestUrl(this.url, reference)
    return `${this.url}/manifests/${digest ? hexOf(digest) : reference}`
  }

  /** The same file without a line in the log. Only of files. */
  quietUrl(url: string): string {
    return url.replace(this.url, `${this.url}/quiet`)
  }

  /** Only of a registry. */
  async asked(digest: Digest): Promise<Asked> {
    const lines = (await readFile(this.#account, 'utf8')).split('\n').filter((line) => line.includes(digest))
    const gets = lines.map((line) => line.split(' ')).filter(([method]) => method === 'GET')
    return { gets: gets.length, bytes: gets.reduce((total, [, , , bytes]) => total + Number(bytes), 0) }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process[Symbol.asyncDispose]()
  }
}

/** What speaks TLS, but for `listen`; it reads files, which are made. */
async function tlsOf(dir: string, { cert, key }: Certificate): Promise<string> {
  const files = { cert: join(dir, certificateFile), key: join(dir, 'key.pem') }
  await writeFile(files.cert, cert)
  await writeFile(files.key, key)
  return `ssl_certificate ${files.cert};
    ssl_certificate_key ${files.key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:sessions:1m;`
}
