const repositoryId = '(SELECT id FROM repositories WHERE name = ?)'

const tagColumns = 't.tag, d.bytes AS digest, m.name AS media_type, t.size, t.etag, t.checked_at'
const tagTables = 'tags t CROSS JOIN digests d CROSS JOIN media_types m'
const tagJoins = 'd.id = t.digest AND m.id = t.media_type'

const kind = `CASE l.is_manifest WHEN 1 THEN 'manifest' WHEN 0 THEN 'blob' END AS kind`
const visibility = `CASE l.is_public WHEN 1 THEN 'public' WHEN 0 THEN 'unproven' END AS visibility`

/** Every statement. Each one uses an index, or reads a table that stays small. CROSS JOIN keeps the order of tables. */
export const statements = {
  digestId: 'SELECT id FROM digests WHERE id BETWEEN ? AND ? AND bytes = ?',
  addDigest: 'INSERT INTO digests VALUES (?, ?) ON CONFLICT DO NOTHING',
  repositoryId: 'SELECT id FROM repositories WHERE name = ?',
  addRepository: 'INSERT INTO repositories (name) VALUES (?) RETURNING id',
  mediaTypeId: 'SELECT id FROM media_types WHERE name = ?',
  addMediaType: 'INSERT INTO media_types (name, users) VALUES (?, 0) RETURNING id',

  tag: `SELECT ${tagColumns} FROM ${tagTables} WHERE t.repository = ${repositoryId} AND t.tag = ? AND ${tagJoins}`,
  setTag: `
    INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
      digest = excluded.digest,
      media_type = excluded.media_type,
      size = excluded.size,
      etag = excluded.etag,
      checked_at = excluded.checked_at`,
  deleteTag: `DELETE FROM tags WHERE repository = ${repositoryId} AND tag = ?`,
  link: `
    SELECT l.size, m.name AS media_type, ${visibility} FROM links l CROSS JOIN media_types m
    WHERE l.repository = ${repositoryId} AND l.is_manifest = ? AND l.digest = ? AND m.id = l.media_type`,
  setLink: `
    INSERT INTO links VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
      size = excluded.size,
      media_type = excluded.media_type,
      is_public = excluded.is_public`,

  setUse: 'INSERT INTO uses VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size, at = excluded.at',
  deleteUse: 'DELETE FROM uses WHERE digest = ? AND at = ?',
  usage: 'SELECT blobs, bytes FROM totals',
  use: 'SELECT size, at FROM uses WHERE digest = ?',
  usesByTime: `
    SELECT d.bytes AS digest, u.size, u.at FROM uses u CROSS JOIN digests d
    WHERE (u.at, u.digest) > (?, ?) AND d.id = u.digest ORDER BY u.at, u.digest LIMIT ?`,
  usesByDigest: `
    SELECT d.bytes AS digest, u.size, u.at FROM uses u CROSS JOIN digests d
    WHERE u.digest > ? AND d.id = u.digest ORDER BY u.digest LIMIT ?`,

  addName: 'INSERT INTO manifest_names VALUES (?, ?) ON CONFLICT DO NOTHING',
  namedBy: `
    SELECT d.bytes AS digest FROM manifest_names n CROSS JOIN digests d
    WHERE n.manifest = ? AND d.id = n.named ORDER BY n.named`,
  namesOf: `
    SELECT d.bytes AS digest FROM manifest_names n CROSS JOIN digests d
    WHERE n.named = ? AND d.id = n.manifest ORDER BY n.manifest`,
  deleteNames: `
    DELETE FROM manifest_names WHERE (manifest, named) IN
      (SELECT manifest, named FROM manifest_names WHERE manifest = ? LIMIT ?)`,

  deleteLinksOfDigest: `
    DELETE FROM links WHERE (repository, is_manifest, digest) IN
      (SELECT repository, is_manifest, digest FROM links WHERE digest = ? LIMIT ?)`,
  deleteLinksOfRepository: `
    DELETE FROM links WHERE (repository, is_manifest, digest) IN
      (SELECT repository, is_manifest, digest FROM links WHERE repository = ${repositoryId} LIMIT ?)`,
  repositoriesOf: `
    SELECT r.name AS repository FROM links l CROSS JOIN repositories r WHERE l.digest = ? AND r.id = l.repository`,
  holdingsOf: `
    SELECT ${kind}, d.bytes AS digest FROM links l CROSS JOIN digests d
    WHERE l.repository = ${repositoryId} AND (l.is_manifest, l.digest) > (?, ?) AND d.id = l.digest
    ORDER BY l.is_manifest, l.digest LIMIT ?`,
  holdingsAfter: `
    SELECT r.name AS repository, ${kind}, d.bytes AS digest
    FROM repositories r CROSS JOIN links l CROSS JOIN digests d
    WHERE r.name >= ? AND r.name < ? AND l.repository = r.id AND d.id = l.digest
    ORDER BY r.name, l.is_manifest, l.digest LIMIT ?`,
  imagesOf: `
    SELECT ${tagColumns} FROM ${tagTables}
    WHERE t.repository = ${repositoryId} AND t.tag > ? AND ${tagJoins} ORDER BY t.tag LIMIT ?`,
  imagesAfter: `
    SELECT r.name AS repository, ${tagColumns} FROM repositories r CROSS JOIN ${tagTables}
    WHERE r.name >= ? AND r.name < ? AND t.repository = r.id AND ${tagJoins}
    ORDER BY r.name, t.tag LIMIT ?`,
  deleteTagsOfRepository: `
    DELETE FROM tags WHERE (repository, tag) IN
      (SELECT repository, tag FROM tags WHERE repository = ${repositoryId} LIMIT ?)`,
  deleteTagsBefore: `
    DELETE FROM tags WHERE (repository, tag) IN (SELECT repository, tag FROM tags WHERE checked_at < ? LIMIT ?)`,

  // Of an earlier version: they lie in a file now.
  pins: 'SELECT pattern FROM pins ORDER BY pattern',
  deletePins: 'DELETE FROM pins',

  addToTotal: 'INSERT INTO count_totals VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value',
  addToBucket: 'INSERT INTO count_buckets VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value',
  totals: 'SELECT name, value FROM count_totals ORDER BY name',
  buckets: 'SELECT at, name, value FROM count_buckets WHERE at >= ? ORDER BY at, name',
  deleteBuckets: `
    DELETE FROM count_buckets WHERE (at, name) IN (SELECT at, name FROM count_buckets WHERE at < ? LIMIT ?)`,
} as const
