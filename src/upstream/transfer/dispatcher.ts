import { Agent, type Dispatcher } from 'undici'

/** How connections to an upstream are made. Plain values, so that they can be sent to a thread. */
export interface DispatcherOptions {
  /** Milliseconds until connected, name lookup and TLS included. */
  readonly connect: number
  /** Bytes of a response's headers at most. */
  readonly headerBytes: number
  /** Milliseconds from the request sent to the response's headers. */
  readonly headers: number
  /** Milliseconds without a byte of a body that is being received: while its connection is paused, no time passes. */
  readonly stall: number
}

/** The one place where connections are configured: the event loop and the fetch threads call it alike. */
export function createDispatcher({ connect, headerBytes, headers, stall }: DispatcherOptions): Dispatcher {
  return new Agent({
    // One connection for each body: over HTTP/2 one slow reader's window would hold up the others.
    allowH2: false,
    connect: { timeout: connect },
    // undici counts them in half seconds of its own, of which a thread that waits for the disk misses all but one.
    headersTimeout: headers,
    bodyTimeout: stall,
    maxHeaderSize: headerBytes,
    keepAliveTimeout: 20_000,
  })
}
