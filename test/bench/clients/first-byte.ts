import { Agent, get } from 'node:http'

/** As a client that has pulled the manifest over the same connection. */
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

export interface FirstByte {
  /** Milliseconds from the request until headers, and until the first byte of the body. */
  readonly headers: number
  readonly body: number
}

/** Reads the whole body, so that the connection can be used again. */
export function firstByte(url: string): Promise<FirstByte> {
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    const request = get(url, { agent }, (response) => {
      const headers = performance.now() - startedAt
      let body: number | undefined
      response.on('data', () => {
        body ??= performance.now() - startedAt
      })
      response.on('end', () => {
        if (response.statusCode === 200 && body !== undefined) resolve({ headers, body })
        else reject(new Error(`${url}: status ${response.statusCode}`))
      })
      response.on('error', reject)
    })
    request.on('error', reject)
  })
}
