import { setTimeout as sleep } from 'node:timers/promises'

const interval = 2
const attempts = 5000

/**
 * Waits for what will come but tells no one: about 10 seconds at most, then an error that says what was waited for.
 * Returns the first value that is truthy.
 */
export async function until<T>(condition: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    const value = await condition()
    if (value) return value
    await sleep(interval)
  }
  throw new Error(`waited in vain for ${what}`)
}
