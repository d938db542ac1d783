import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempDisposable, open, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { describe, it } from 'node:test'
import { streamOutput } from '../../src/telemetry/output.ts'

const noisy = join(import.meta.dirname, 'support/noisy.ts')

describe('standardOutput', () => {
  it('blocks neither the process nor its exit when nobody reads the pipe', { timeout: 300_000 }, async () => {
    const child = spawn(process.execPath, [noisy, '20000', '1'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    const [[report], [code]] = await Promise.all([once(child, 'message'), once(child, 'exit')])
    assert.ok((report as { dropped: number }).dropped > 15_000)
    assert.equal(code, 0)
    child.stdout?.destroy()
  })

  it('outlives a reader that goes away', { timeout: 300_000 }, async () => {
    const child = spawn(process.execPath, [noisy, '2000', '10000'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    child.stdout?.destroy()
    const [[report], [code]] = await Promise.all([once(child, 'message'), once(child, 'exit')])
    assert.ok((report as { dropped: number }).dropped > 0)
    assert.equal(code, 0)
  })

  it('loses nothing on a pipe that is read', { timeout: 300_000 }, async () => {
    const child = spawn(process.execPath, [noisy, '1000', '10000'], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    await once(child, 'close')
    assert.equal(text.split('\n').length, 1001)
  })

  it('loses nothing on a file, and appends', { timeout: 300_000 }, async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'entrepot-log-'))
    const path = join(folder.path, 'log')
    {
      await using file = await open(path, 'a')
      await file.write('before\n')
      const child = spawn(process.execPath, [noisy, '1000', '10000'], { stdio: ['ignore', file.fd, 'inherit', 'ipc'] })
      await once(child, 'exit')
    }
    const lines = (await readFile(path, 'utf8')).split('\n')
    assert.equal(lines[0], 'before')
    assert.equal(lines.length, 1002)
    assert.equal(JSON.parse(lines[1000] ?? '').n, 999)
  })
})

describe('streamOutput', () => {
  it('rejects what the stream refuses', async () => {
    const stream = new PassThrough()
    const output = streamOutput(stream)
    stream.destroy(new Error('gone'))
    await assert.rejects(output('line\n'))
  })
})
