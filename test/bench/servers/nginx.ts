import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type Digest, hexOf, parseDigest } from '../../../src/oci/digest.ts'
import { ociManifest, octetStream } from '../../../src/oci/media-type.ts'
import type { Content } from '../content.ts'
import { find } from '../programs.ts'
import { freePort, Process } from './process.ts'
import { registryBlobUrl, registryManifestUrl, type Server } from './server.ts'

export interface NginxSettings {
  readonly dir: string
  readonly content: Content
}

/** What was asked of an upstream for one blob. */
export interface Asked {
  readonly gets: number
  /** Body bytes sent. */
  readonly bytes: number
}

type Kind = 'files' | 'registry'

/** nginx over the content's files: as plain files, or as the registry that the caches pull from. */
export class Nginx implements Server {
  readonly process: Process
  readonly url: string
  readonly #kind: Kind
  readonly #account: string

  private constructor(process: Process, kind: Kind, { url, account }: { url: string; account: string }) {
    this.process = process
    this.url = url
    this.#kind = kind
    this.#account = account
  }

  /** Plain files by sendfile, and a line in the log for each, as Debian ships it; below `/quiet` without that line. */
  static files({ dir, content }: NginxSettings): Promise<Nginx> {
    const locations = `
    location / { root ${content.root}; }
    location /quiet/ { access_log off; alias ${content.root}/; }`
    return Nginx.#start('files', dir, `access_log ${dir}/access combined;`, locations)
  }

  /** A registry that is no bottleneck, and keeps an account. */
  static registry({ dir, content }: NginxSettings): Promise<Nginx> {
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
    return Nginx.#start('registry', dir, log, locations)
  }

  static async #start(kind: Kind, dir: string, log: string, locations: string): Promise<Nginx> {
    await mkdir(dir, { recursive: true })
    const port = await freePort()
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
    listen 127.0.0.1:${port} backlog=1024;
    location = /ready { return 200; }
    ${locations}
  }
}
`,
    )
    const program = find('nginx') ?? 'nginx'
    const args = ['-c', config, '-p', dir, '-e', join(dir, 'log')]
    const url = `http://127.0.0.1:${port}`
    const name = kind === 'files' ? 'nginx' : 'upstream'
    const running = await Process.start({ name, program, args, log: join(dir, 'log') }, `${url}/ready`)
    return new Nginx(running, kind, { url, account: join(dir, 'access') })
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
