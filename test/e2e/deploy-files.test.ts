import assert from 'node:assert/strict'
import { globSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { programSuite } from './support/programs.ts'
import { run } from './support/run.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const clientFiles = globSync('deploy/clients/**/*.*', { cwd: root }).filter((name) =>
  /\.(?:json|yaml|toml|conf)$/.test(name),
)

programSuite('the files in deploy/clients', ['python3'], () => {
  for (const name of clientFiles) {
    test(`${name} can be read, and has the address that is to be replaced`, async () => {
      const text = await readFile(`${root}/${name}`, 'utf8')
      if (name !== 'deploy/clients/kind/cluster.yaml') assert.match(text, /mirror\.example:5000/)
      if (extname(name) === '.json') JSON.parse(text)
      else if (extname(name) === '.yaml') parse(text)
      else await run('python3', ['-c', readToml, `${root}/${name}`], { home: '/' })
    })
  }
})

const readToml = 'import sys, tomllib; tomllib.load(open(sys.argv[1], "rb"))'

test('the README beside them tells of each', async () => {
  const readme = await readFile(`${root}/deploy/README.md`, 'utf8')
  const told = [...readme.matchAll(/`(clients\/[^`]*)`/g)].map(([, name]) => `deploy/${name}`)
  const untold = clientFiles.filter((name) => !told.some((beginning) => name.startsWith(beginning)))
  assert.deepEqual(untold, [])
})

test('the configuration under compose is one', async () => {
  const { upstreams } = await loadConfig(`${root}/deploy/compose/config.yaml`, { REDIS_URL: 'redis://redis:6379' })
  assert.deepEqual(
    upstreams.map(({ name }) => name),
    ['docker.io', 'ghcr.io', 'quay.io', 'registry.k8s.io'],
  )
})
