import { setImmediate as turn } from 'node:timers/promises'

/** A listing of the content index: at most `limit` items behind `after`, in the listing's order. */
export type Listing<Item> = (after: Item | undefined, limit: number) => Promise<readonly Item[]>

const pageSize = 200

/**
 * The pages of a listing, one after the other. The index answers synchronously, so other work runs between two pages.
 */
export async function* pagesOf<Item>(list: Listing<Item>): AsyncGenerator<readonly Item[], undefined> {
  for (let after: Item | undefined; ; ) {
    const items = await list(after, pageSize)
    yield items
    if (items.length < pageSize) return
    after = items.at(-1)
    await turn()
  }
}

/** The first items of a listing, as long as they match. */
export async function listWhile<Item>(list: Listing<Item>, matches: (item: Item) => boolean): Promise<Item[]> {
  const found: Item[] = []
  for await (const items of pagesOf(list)) {
    for (const item of items) {
      if (!matches(item)) return found
      found.push(item)
    }
  }
  return found
}
