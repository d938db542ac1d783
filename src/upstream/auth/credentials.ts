import { readFile, stat } from 'node:fs/promises'
import { withTimeLimit } from '../../oci/time-limit.ts'

/** A login as configured. The file holds the password, may end in a newline, and may change at any time. */
export type Credential =
  | { readonly username: string; readonly password: string }
  | { readonly username: string; readonly passwordFile: string }

export interface Login {
  readonly username: string
  /** For an Authorization header of scheme Basic. */
  readonly basic: string
  /** Differs between two passwords, and reveals neither. */
  readonly id: string
}

/** Why a login is not used for a while. Goes to the log, so it has no password. */
export interface LoginRefusal {
  readonly username: string
  readonly reason: string
  /** Epoch milliseconds. */
  readonly restsUntil: number
}

/** The right to send a login once. Disposed of without a verdict, since no answer came, it leaves the login untried. */
export interface LoginAttempt extends Disposable {
  accepted(): void
  refused(reason: string): void
}

export interface CredentialsOptions {
  readonly credential: Credential | undefined
  /** Milliseconds for which a refused login is not used. */
  readonly rest: number
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly onRefused: (refusal: LoginRefusal) => void
}

/**
 * The login for one registry.
 *
 *     state       requests                                leaves the state
 *     untried     one at a time carries the login         accepted → accepted; refused → resting; no answer → untried
 *     accepted    all carry it                            refused → resting
 *     resting     none carries it                         after `rest` → untried
 *
 * A changed password file makes the login untried, whatever its state. Docker Hub bans addresses whose logins fail
 * repeatedly: hence the rest, and one request at a time.
 */
export class Credentials {
  readonly #options: CredentialsOptions
  #login: Login | undefined
  #version: string | undefined
  #accepted = false
  #restsUntil = 0
  #attempt: PromiseWithResolvers<void> | undefined

  constructor(options: CredentialsOptions) {
    this.#options = options
  }

  get configured(): boolean {
    return this.#options.credential !== undefined
  }

  /** Undefined where no login is configured, or it rests. */
  async current(): Promise<Login | undefined> {
    await this.#load()
    return this.#restsUntil > this.#options.now() ? undefined : this.#login
  }

  /** Waits for the running attempt of an untried login. Undefined where the login was refused or replaced meanwhile. */
  async attempt(login: Login, signal: AbortSignal): Promise<LoginAttempt | undefined> {
    for (;;) {
      if ((await this.current()) !== login) return undefined
      if (this.#accepted) return this.#open(login)
      const running = this.#attempt
      if (!running) break
      await withTimeLimit({ signal }, () => running.promise)
    }
    const turn = Promise.withResolvers<void>()
    this.#attempt = turn
    return this.#open(login, () => {
      this.#attempt = undefined
      turn.resolve()
    })
  }

  /** Makes a login rest that nobody refused but that cannot be used. */
  unusable(login: Login, reason: string): void {
    if (login === this.#login) this.#refuse(login.username, reason)
  }

  #open(login: Login, onEnd: () => void = () => {}): LoginAttempt {
    return {
      accepted: () => {
        if (login === this.#login) this.#accepted = true
      },
      refused: (reason) => this.unusable(login, reason),
      [Symbol.dispose]: onEnd,
    }
  }

  #refuse(username: string, reason: string): void {
    const { now, rest, onRefused } = this.#options
    if (this.#restsUntil > now()) return
    this.#accepted = false
    this.#restsUntil = now() + rest
    onRefused({ username, reason, restsUntil: this.#restsUntil })
  }

  async #load(): Promise<void> {
    const { credential } = this.#options
    if (!credential) return
    if ('password' in credential) {
      this.#login ??= loginOf(credential.username, credential.password, 'configured')
      return
    }
    try {
      const { mtimeMs, size, ino } = await stat(credential.passwordFile)
      const version = `${mtimeMs} ${size} ${ino}`
      if (version === this.#version) return
      const password = (await readFile(credential.passwordFile, 'utf8')).replace(/\r?\n$/, '')
      if (version === this.#version) return
      this.#login = loginOf(credential.username, password, version)
      this.#version = version
      this.#accepted = false
      this.#restsUntil = 0
    } catch {
      // A secret that is being replaced may be absent for a moment: then the last password stays in use.
      if (!this.#login) this.#refuse(credential.username, 'the password file cannot be read')
    }
  }
}

function loginOf(username: string, password: string, id: string): Login {
  return { username, basic: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`, id }
}
