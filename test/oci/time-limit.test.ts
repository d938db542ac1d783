import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { withTimeLimit } from '../../src/oci/time-limit.ts'

const hour = 3_600_000
const never = () => new Promise<never>(() => undefined)

describe('withTimeLimit', () => {
  it('returns what the work returns', async () => {
    assert.equal(await withTimeLimit({ timeout: hour }, async () => 'done'), 'done')
    assert.equal(await withTimeLimit({}, async () => 'done'), 'done')
  })

  it('rejects with what the work rejects with', async () => {
    const failure = new Error('made to fail')
    await assert.rejects(
      withTimeLimit({ timeout: hour }, () => Promise.reject(failure)),
      failure,
    )
  })

  it('rejects with the given error when the time is over, and aborts the signal with it', async () => {
    const late = new Error('late')
    let given: AbortSignal | undefined
    const waiting = withTimeLimit({ timeout: 1, error: () => late }, (signal) => {
      given = signal
      return never()
    })
    await assert.rejects(waiting, late)
    assert.equal(given?.reason, late)
  })

  it('names the time-out where no error is given', async () => {
    await assert.rejects(withTimeLimit({ timeout: 1 }, never), { message: 'no answer within 1 ms' })
  })

  it('rejects with the reason of a signal that is aborted before or during the work', async () => {
    const leaving = new AbortController()
    const reason = new Error('the client left')
    const during = withTimeLimit({ timeout: hour, signal: leaving.signal }, never)
    leaving.abort(reason)
    await assert.rejects(during, reason)
    let began = false
    const before = withTimeLimit({ signal: leaving.signal }, async () => {
      began = true
    })
    await assert.rejects(before, reason)
    assert.equal(began, false)
  })

  it('leaves the signal alone once the work has ended in time', async () => {
    const leaving = new AbortController()
    const { signal } = await withTimeLimit({ timeout: 1, signal: leaving.signal }, async (own) => ({ signal: own }))
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.equal(signal.aborted, false)
    leaving.abort()
    assert.equal(signal.aborted, true)
  })

  it('takes an answer that arrived while the event loop was blocked', async () => {
    const blocked = withTimeLimit({ timeout: 5 }, async () => {
      const arrives = new Promise((resolve) => setTimeout(resolve, 6, 'in time'))
      const until = performance.now() + 30
      while (performance.now() < until);
      return await arrives
    })
    assert.equal(await blocked, 'in time')
  })

  it('handles the failure of work that was given up', async () => {
    const { promise, reject } = Promise.withResolvers<never>()
    await assert.rejects(
      withTimeLimit({ timeout: 1 }, () => promise),
      /no answer/,
    )
    // An unhandled rejection would fail this test file.
    reject(new Error('too late'))
    await new Promise((resolve) => setImmediate(resolve))
  })
})
