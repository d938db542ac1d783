/** Every statement. Each one uses an index, or reads a table that stays small. */
export const statements = {
  tag: 'SELECT digest, media_type, size, etag, checked_at FROM tags WHERE repository = ? AND tag = ?',
  setTag: `
    INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
      digest = excluded.digest,
      media_type = excluded.media_type,
      size = excluded.size,
      etag = excluded.etag,
      checked_at = excluded.checked_at
    WHERE excluded.checked_at >= checked_at`,
  deleteTag: 'DELETE FROM tags WHERE repository = ? AND tag = ?',
  link: 'SELECT size, media_type, visibility FROM links WHERE repository = ? AND kind = ? AND digest = ?',
  addLink: `
    INSERT INTO links VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
      size = coalesce(excluded.size, size),
      media_type = excluded.media_type,
      visibility = CASE visibility WHEN 'public' THEN 'public' ELSE excluded.visibility END`,
  recordAccess: `
    INSERT INTO uses VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET size = excluded.size, at = excluded.at WHERE excluded.at >= at`,
  forgetAccess: 'DELETE FROM uses WHERE digest = ? AND at = ?',
  usage: 'SELECT blobs, bytes FROM totals',

  lastAccess: 'SELECT digest, size, at FROM uses WHERE digest = ?',
  leastRecentlyUsed: 'SELECT digest, size, at FROM uses WHERE (at, digest) > (?, ?) ORDER BY at, digest LIMIT ?',
  accessesAfter: 'SELECT digest, size, at FROM uses WHERE digest > ? ORDER BY digest LIMIT ?',

  addReference: 'INSERT INTO manifest_names VALUES (?, ?) ON CONFLICT DO NOTHING',
  childrenOf: 'SELECT named AS digest FROM manifest_names WHERE manifest = ? ORDER BY named',
  parentsOf: 'SELECT manifest AS digest FROM manifest_names WHERE named = ? ORDER BY manifest',
  deleteReferences: 'DELETE FROM manifest_names WHERE manifest = ?',

  deleteLinksOfDigest: `
    DELETE FROM links WHERE (repository, kind, digest) IN
      (SELECT repository, kind, digest FROM links WHERE digest = ? LIMIT ?)`,
  deleteLinksOfRepository: `
    DELETE FROM links WHERE (repository, kind, digest) IN
      (SELECT repository, kind, digest FROM links WHERE repository = ? LIMIT ?)`,
  repositoriesOf: 'SELECT DISTINCT repository FROM links WHERE digest = ? ORDER BY repository',
  holdings: `
    SELECT repository, kind, digest FROM links
    WHERE (repository, kind, digest) > (?, ?, ?) AND repository >= ? AND repository < ?
    ORDER BY repository, kind, digest LIMIT ?`,
  images: `
    SELECT repository, tag, digest, media_type, checked_at FROM tags
    WHERE (repository, tag) > (?, ?) AND repository >= ? AND repository < ?
    ORDER BY repository, tag LIMIT ?`,
  deleteTagsOfRepository: `
    DELETE FROM tags WHERE (repository, tag) IN (SELECT repository, tag FROM tags WHERE repository = ? LIMIT ?)`,
  deleteTagsBefore: `
    DELETE FROM tags WHERE (repository, tag) IN (SELECT repository, tag FROM tags WHERE checked_at < ? LIMIT ?)`,

  pins: 'SELECT pattern FROM pins ORDER BY pattern',
  addPin: 'INSERT INTO pins VALUES (?) ON CONFLICT DO NOTHING',
  deletePin: 'DELETE FROM pins WHERE pattern = ?',

  addToTotal: 'INSERT INTO count_totals VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value',
  addToBucket: 'INSERT INTO count_buckets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value',
  totals: 'SELECT name, value FROM count_totals ORDER BY name',
  buckets: 'SELECT at, name, value FROM count_buckets WHERE at >= ? ORDER BY at, name',
  deleteBuckets: `
    DELETE FROM count_buckets WHERE (at, name) IN (SELECT at, name FROM count_buckets WHERE at < ? LIMIT ?)`,
} as const
