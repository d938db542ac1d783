import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type CacheableRequest, cacheableRequest } from '../../../src/http/fast/cacheable-request.ts'
import { HttpServer, listen } from '../../../src/http/server.ts'
import { Wire } from '../../support/wire.ts'

const plain = 'GET /v2/a/manifests/b HTTP/1.1\r\nHost: mirror.test\r\n'

/** What is made of a head by way of Node's own parser; null where the parser refuses it. */
async function read(text: string): Promise<CacheableRequest | undefined | null> {
  let head: CacheableRequest | undefined | null = null
  await using server = new HttpServer((request, response) => {
    head = cacheableRequest(request)
    response.setHeader('connection', 'close').end()
  })
  await listen(server, { host: '127.0.0.1', port: 0 })
  using wire = await Wire.open(`http://127.0.0.1:${(server.address() as { port: number }).port}`)
  wire.send(text)
  wire.end()
  await wire.closed()
  return head
}

describe('a cacheable request', () => {
  for (const text of [
    `${plain}\r\n`,
    `HEAD${plain.slice(3)}\r\n`,
    `${plain}Connection: keep-alive\r\n\r\n`,
    `${plain}connection: Keep-Alive\r\n\r\n`,
    `${plain}User-Agent: docker/29 (linux)\r\nAccept: a/b\r\nAccept: c/d, */*\r\nAccept-Encoding: gzip\r\n\r\n`,
    `${plain}User-Agent: d\u00f6cker\r\n\r\n`,
    `${plain}Docker-Distribution-Api-Version: registry/2.0\r\n\r\n`,
    `${plain}Accept: \r\n\r\n`,
    `${plain}Range: bytes=0-1\r\n\r\n`,
    'GET http://mirror.test/v2/?ns=docker.io HTTP/1.1\r\nhost: mirror.test\r\n\r\n',
  ]) {
    it(`is as it came: ${JSON.stringify(text)}`, async () => {
      assert.equal((await read(text))?.text, text)
    })
  }

  it('tells which part is wanted, if it is one', async () => {
    assert.equal((await read(`${plain}Range: bytes=0-1\r\n\r\n`))?.range, 'bytes=0-1')
    assert.equal((await read(`${plain}\r\n`))?.range, undefined)
  })

  for (const [name, line] of Object.entries({
    'a condition': 'If-None-Match: "a"',
    'a date': 'If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT',
    'a range condition': 'If-Range: "a"',
    'a body of no bytes': 'Content-Length: 0',
    'an expectation': 'Expect: 100-continue',
    'an upgrade': 'Upgrade: h2c',
    trailers: 'TE: trailers',
    'the end of the connection': 'Connection: close',
    'a connection with an upgrade': 'Connection: keep-alive, upgrade',
    'a login': 'Authorization: Basic c2VzYW1l',
    'a cookie': 'Cookie: a=b',
    'a header like no other': 'Traceparent: 00-1-2-01',
    "a proxy's word": 'X-Forwarded-For: 192.0.2.1',
  })) {
    it(`has not ${name}`, async () => {
      assert.equal(await read(`${plain}${line}\r\n\r\n`), undefined)
    })
  }

  it('is of HTTP/1.1, and a GET or HEAD', async () => {
    assert.equal(await read('GET /v2/ HTTP/1.0\r\nHost: a\r\n\r\n'), undefined)
    assert.equal(await read('GET /v2/ HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n'), undefined)
    assert.equal(await read(`DELETE${plain.slice(3)}\r\n`), undefined)
    assert.equal(await read(`POST${plain.slice(3)}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`), undefined)
  })

  for (const text of [
    `${plain}Accept:a\r\n\r\n`,
    `${plain}Accept:  a\r\n\r\n`,
    `${plain}Accept: a \r\n\r\n`,
    `${plain}Accept:\r\n\r\n`,
    `${plain}Accept:\ta\r\n\r\n`,
    `\r\n${plain}\r\n`,
    `${plain}\r\n${plain}\r\n`,
    `${plain}\r\nG`,
    `${plain}\nX: y\r\n\r\n`,
    `${plain}Accept: a\n\r\n`,
    `${plain}Accept: a\n\n${plain}\r\n`,
    `${plain}Accept: a\r\n b\r\n\r\n`,
  ]) {
    it(`is not as it came where that was otherwise: ${JSON.stringify(text.slice(plain.length - 4))}`, async () => {
      assert.notEqual((await read(text))?.text, text)
    })
  }
})
