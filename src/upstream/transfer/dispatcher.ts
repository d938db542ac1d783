import { Agent, type Dispatcher } from 'undici'

/** How connections to an upstream are made. Plain values, so that they can be sent to a thread. */
export interface DispatcherOptions {
  /** Milliseconds until connected, name lookup and TLS included. */
  readonly connect: number
  /** Bytes of a response's headers at most. */
  readonly headerBytes: number
}

/** The one place where connections are configured: the event loop and the fetch threads call it alike. */
export function createDispatcher({ connect, headerBytes }: DispatcherOptions): Dispatcher {
  return new Agent({
    // One connection for each body: over HTTP/2 one slow reader's window would hold up the others.
    allowH2: false,
    connect: { timeout: connect },
    // Ours are exact, and a body's time runs only while somebody waits for it.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: headerBytes,
    keepAliveTimeout: 20_000,
  })
}
