import type { Config } from './config/config.ts'

export interface BannerFacts {
  readonly config: Config
  readonly version: string
  /** As bound: `0.0.0.0:5000`. */
  readonly listen: string
  readonly adminListen: string
  /** `entrepot/probe:<nonce>`. */
  readonly probe: string
}

/** The text for a person who starts the mirror on a terminal. */
export function banner({ config, version, listen, adminListen, probe }: BannerFacts): string {
  const names = config.upstreams.map(({ name }) => (name === config.defaultUpstream ? `${name} (default)` : name))
  const here = `http://${listen.replace(/^(0\.0\.0\.0|\[::\]):/, 'localhost:')}`
  return [
    `entrepot ${version}`,
    `  mirrors   ${names.join(', ')}`,
    `  on        http://${listen}${config.basePath}`,
    `  store     ${config.storage.path}`,
    `  metadata  ${config.metadata.kind}`,
    `  admin     http://${adminListen}  (/readyz, /metrics, /api/stats)`,
    '',
    `Docker: put {"registry-mirrors": ["${here}${config.basePath}"]} into /etc/docker/daemon.json and restart it.`,
    `Then "docker pull ${probe}" succeeds only through this mirror. Other clients: deploy/clients/.`,
    '',
  ].join('\n')
}
