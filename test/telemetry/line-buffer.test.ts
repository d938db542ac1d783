import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LineBuffer } from '../../src/telemetry/line-buffer.ts'
import type { Output } from '../../src/telemetry/output.ts'

const line = `${'x'.repeat(99)}\n`

describe('LineBuffer', () => {
  it('holds no more than its bound while the output is blocked, and counts what it drops', async () => {
    let calls = 0
    const never: Output = () => {
      calls += 1
      return new Promise(() => {})
    }
    const buffer = new LineBuffer({ output: never, maxBytes: 128 * 1024 })
    for (let n = 0; n < 100_000; n += 1) buffer.write(line)
    assert.equal(buffer.dropped, 100_000 - 1310)
    assert.equal(calls, 1)
    await buffer.flush(1)
  })

  it('takes lines again when the output does', async () => {
    const written: string[] = []
    let release = () => {}
    const output: Output = (lines) => {
      written.push(lines)
      return new Promise((resolve) => {
        release = resolve
      })
    }
    const buffer = new LineBuffer({ output, maxBytes: 200 })
    buffer.write(line)
    const flushed = buffer.flush(10_000)
    buffer.write(line)
    buffer.write('lost\n')
    release()
    await Promise.resolve()
    await Promise.resolve()
    buffer.write('kept\n')
    release()
    await Promise.resolve()
    await Promise.resolve()
    release()
    await flushed
    assert.equal(written.join(''), `${line}${line}kept\n`)
    assert.equal(buffer.dropped, 1)
  })

  it('counts lines as dropped when the output fails, and goes on', async () => {
    const written: string[] = []
    const output: Output = async (lines) => {
      if (written.push(lines) === 1) throw new Error('no space left')
    }
    const buffer = new LineBuffer({ output })
    buffer.write('a\n')
    buffer.write('b\n')
    await buffer.flush(10_000)
    buffer.write('c\n')
    await buffer.flush(10_000)
    assert.deepEqual(written, ['a\nb\n', 'c\n'])
    assert.equal(buffer.dropped, 2)
  })

  it('writes a single line after its delay, and a full batch at once', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const written: string[] = []
    const buffer = new LineBuffer({
      output: async (lines) => {
        written.push(lines)
      },
      maxDelay: 100,
    })
    buffer.write('a\n')
    t.mock.timers.tick(99)
    assert.deepEqual(written, [])
    t.mock.timers.tick(1)
    assert.deepEqual(written, ['a\n'])
    await buffer.flush(1)
    for (let n = 0; n < 656; n += 1) buffer.write(line)
    assert.equal(written.length, 2)
  })

  it('loses no line that comes while the last batch ends', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const written: string[] = []
    const first = Promise.withResolvers<void>()
    const buffer = new LineBuffer({
      output: (lines) => {
        written.push(lines)
        return first.promise
      },
      maxDelay: 100,
    })
    buffer.write('a\n')
    t.mock.timers.tick(100)
    first.resolve()
    for (let turn = 0; turn < 10; turn += 1) {
      buffer.write(`${turn}\n`)
      await Promise.resolve()
    }
    t.mock.timers.tick(100)
    await Promise.resolve()
    assert.equal(written.join(''), 'a\n0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n')
  })
})
