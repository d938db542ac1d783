import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Progress } from '../../../src/cache/fill/progress.ts'

/** A download that has brought `bytes` in `elapsed` milliseconds, and a clock that stands still. */
function download({ bytes, elapsed }: { bytes: number; elapsed: number }): Progress {
  let time = 1_000_000
  const progress = new Progress(() => time)
  if (bytes > 0) progress.advance(1)
  time += elapsed
  if (bytes > 1) progress.advance(bytes - 1)
  return progress
}

describe('Progress', () => {
  it('has reached what is there, and not the byte after it', async () => {
    const progress = download({ bytes: 1000, elapsed: 200 })
    assert.equal(await progress.reaches(999, 0), true)
    assert.equal(await progress.reaches(1000, 0), false)
  })

  it('does not wait for what lies farther than it is fast', async () => {
    const progress = download({ bytes: 1000, elapsed: 200 })
    assert.equal(await progress.reaches(1000 + 5001, 1000), false)
  })

  it('waits for what it may reach in time', async () => {
    const progress = download({ bytes: 1000, elapsed: 200 })
    const reached = progress.reaches(1000 + 4999, 1000)
    progress.advance(4999)
    progress.advance(1)
    assert.equal(await reached, true)
  })

  it('does not judge by the first moments', async () => {
    const progress = download({ bytes: 10, elapsed: 50 })
    const reached = progress.reaches(1_000_000, 1000)
    progress.advance(1_000_000)
    assert.equal(await reached, true)
  })

  it('lets everybody go when it ends', async () => {
    const progress = download({ bytes: 0, elapsed: 0 })
    const waiting = [progress.reaches(5, 1000), progress.reaches(1_000_000, 1000)]
    progress.end()
    assert.deepEqual(await Promise.all(waiting), [true, true])
    assert.equal(await progress.reaches(5, 0), true)
  })
})
