import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { tempDir } from '../support/temp.ts'
import { until } from '../support/wait.ts'

const program = fileURLToPath(new URL('run.ts', import.meta.url))

/** What still names the folder: processes by their command line, and mounts. */
function leftIn(folder: string): string[] {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && commandLine(name).includes(folder))
  const mounts = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(folder))
  return [...processes.map((pid) => commandLine(pid)), ...mounts, ...readdirSync(folder)]
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

function started(folder: string, ...flags: string[]): ChildProcess {
  return spawn(process.execPath, [program, '--minutes', '5', ...flags], {
    env: { ...process.env, TMPDIR: folder },
    stdio: 'ignore',
  })
}

/** Without a mount where this process has no right to one. */
const flags = spawnSync('unshare', ['--mount', 'true']).status === 0 ? ['--disk', '200MiB'] : []

describe('a torture that is broken off', () => {
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`by ${signal} leaves no process, mount or file`, async () => {
      await using folder = await tempDir()
      const child = started(folder.path, ...flags)
      const exit = once(child, 'exit')
      await until(() => leftIn(folder.path).some((line) => line.includes(' serve ')), 'the mirror to run')
      child.kill(signal)
      assert.deepEqual(await exit, [status, null])
      assert.deepEqual(leftIn(folder.path), [])
    })
  }
})

describe('a torture that cannot be run as it was asked for', () => {
  const refused = async (env: Readonly<Record<string, string>>, ...command: string[]) => {
    await using folder = await tempDir()
    chmodSync(folder.path, 0o777)
    const [file = '', ...rest] = command
    const { status, stderr, stdout } = spawnSync(file, rest, {
      env: { ...process.env, ...env, TMPDIR: folder.path },
      encoding: 'utf8',
    })
    assert.equal(stdout, '')
    assert.match(stderr, /^torture: .{10,}\n$/)
    assert.equal(status, 2)
    assert.deepEqual(leftIn(folder.path), [])
    return stderr
  }
  const nowhere = { PATH: '/nonexistent' }

  for (const [flag, value, word] of [
    ['--redis', '', 'redis-server'],
    ['--descriptors', '256', 'prlimit'],
    ['--disk', '200MiB', 'mount'],
  ] as const) {
    it(`says in one line that ${flag} lacks its program, and ends with status 2`, async () => {
      const words = [flag, value].filter((text) => text !== '')
      assert.match(await refused(nowhere, process.execPath, program, ...words), new RegExp(word))
    })
  }

  it('says so where it has not the right to mount', async () => {
    const unprivileged =
      process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'] : []
    assert.match(await refused({}, ...unprivileged, process.execPath, program, '--disk', '200MiB'), /--disk: /)
  })

  it('says so where the limit of descriptors or the file for the log cannot be had', async () => {
    const missing = ['--keep', '/nonexistent/log']
    assert.match(await refused({}, process.execPath, program, ...missing), /--keep: /)
    const most = ['prlimit', '--nofile=1000:1000', 'setpriv', '--bounding-set', '-sys_resource', '--inh-caps', '-all']
    assert.match(await refused({}, ...most, process.execPath, program, '--descriptors', '5000'), /--descriptors: /)
  })
})
