import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { startAdmin } from './support/admin.ts'

describe('Host', () => {
  for (const [host, expected] of [
    ['localhost', 200],
    ['LOCALHOST:5001', 200],
    ['localhost.:5001', 200],
    ['127.0.0.1', 200],
    ['127.255.0.9:1', 200],
    ['[::1]:5001', 200],
    ['[0:0:0:0:0:0:0:1]', 200],
    ['mirror.internal:5001', 200],
    ['192.0.2.7', 200],
    ['192.0.2.7:9', 200],
    ['[2001:db8::7]:5001', 200],
    ['metrics.example', 200],
    ['evil.example', 421],
    ['evil.example:5001', 421],
    ['localhost.evil.example', 421],
    ['127.0.0.1.evil.example', 421],
    ['localhost@evil.example', 421],
    ['evil.example@localhost', 421],
    ['192.0.2.8', 421],
    ['[::2]', 421],
    ['10.0.0.1', 421],
  ] as const) {
    it(`answers ${expected} to ${host}`, async () => {
      await using admin = await startAdmin({
        boundHost: 'mirror.internal',
        hosts: ['192.0.2.7', '2001:db8::7', 'metrics.example:5001'],
      })
      for (const path of ['/livez', '/api/stats']) {
        assert.equal((await admin.ask(path, { headers: { host } })).status, expected, path)
      }
    })
  }

  it('is refused in the envelope, before the token is checked', async () => {
    await using admin = await startAdmin({ token: 't' })
    const headers = { host: 'evil.example', authorization: 'Bearer t' }
    const { status, json } = await admin.ask('/api/stats', { headers })
    assert.equal(status, 421)
    assert.equal((json as { errors: { code: string }[] }).errors[0]?.code, 'MISDIRECTED')
  })

  it('may be the address the client connected to, if the listener is bound to every address', async () => {
    await using admin = await startAdmin({ boundHost: '::', listen: '::' })
    assert.equal((await admin.ask('/livez', { headers: { host: '127.0.0.1:80' } })).status, 200)
    assert.equal((await admin.ask('/livez', { headers: { host: '192.0.2.1' } })).status, 421)
  })

  it('is required from old clients too', async () => {
    await using admin = await startAdmin()
    const socket = connect(admin.port, '127.0.0.1')
    socket.end('GET /livez HTTP/1.0\r\n\r\n')
    assert.match(await text(socket), /^HTTP\/1\.1 421 /)
  })
})
