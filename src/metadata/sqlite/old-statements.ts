/** Statements for what is left of version 2, and may still have to be moved. Each one uses an index. */
export const oldStatements = {
  tag: 'SELECT digest, media_type, size, etag, checked_at FROM old_tags WHERE repository = ? AND tag = ?',
  link: 'SELECT size, media_type, visibility FROM old_links WHERE repository = ? AND kind = ? AND digest = ?',
  use: 'SELECT digest, size, at FROM old_uses WHERE digest = ?',
  usesByTime: 'SELECT digest, size, at FROM old_uses WHERE (at, digest) > (?, ?) ORDER BY at, digest LIMIT ?',
  usesByDigest: 'SELECT digest, size, at FROM old_uses WHERE digest > ? ORDER BY digest LIMIT ?',
  namedBy: 'SELECT named AS digest FROM old_manifest_names WHERE manifest = ? ORDER BY named',
  namesOf: 'SELECT manifest AS digest FROM old_manifest_names WHERE named = ? ORDER BY manifest',
  repositoriesOf: 'SELECT repository FROM old_links WHERE digest = ?',
  holdings: `
    SELECT repository, kind, digest FROM old_links
    WHERE (repository, kind, digest) > (?, ?, ?) AND repository >= ? AND repository < ?
    ORDER BY repository, kind, digest LIMIT ?`,
  images: `
    SELECT repository, tag, digest, media_type, size, etag, checked_at FROM old_tags
    WHERE (repository, tag) > (?, ?) AND repository >= ? AND repository < ?
    ORDER BY repository, tag LIMIT ?`,

  deleteTag: 'DELETE FROM old_tags WHERE repository = ? AND tag = ?',
  deleteLink: 'DELETE FROM old_links WHERE repository = ? AND kind = ? AND digest = ?',
  deleteUse: 'DELETE FROM old_uses WHERE digest = ? AND at = ?',
  deleteUses: 'DELETE FROM old_uses WHERE digest = ?',
  deleteName: 'DELETE FROM old_manifest_names WHERE manifest = ? AND named = ?',
  deleteNames: `
    DELETE FROM old_manifest_names WHERE (manifest, named) IN
      (SELECT manifest, named FROM old_manifest_names WHERE manifest = ? LIMIT ?)`,
  deleteLinksOfDigest: `
    DELETE FROM old_links WHERE (repository, kind, digest) IN
      (SELECT repository, kind, digest FROM old_links WHERE digest = ? LIMIT ?)`,
  deleteLinksOfRepository: `
    DELETE FROM old_links WHERE (repository, kind, digest) IN
      (SELECT repository, kind, digest FROM old_links WHERE repository = ? LIMIT ?)`,
  deleteTagsOfRepository: `
    DELETE FROM old_tags WHERE (repository, tag) IN (SELECT repository, tag FROM old_tags WHERE repository = ? LIMIT ?)`,
  deleteTagsBefore: `
    DELETE FROM old_tags WHERE (repository, tag) IN (SELECT repository, tag FROM old_tags WHERE checked_at < ? LIMIT ?)`,

  takeTags: `
    DELETE FROM old_tags WHERE (repository, tag) IN
      (SELECT repository, tag FROM old_tags ORDER BY repository, tag LIMIT ?) RETURNING *`,
  takeLinks: `
    DELETE FROM old_links WHERE (repository, kind, digest) IN
      (SELECT repository, kind, digest FROM old_links ORDER BY repository, kind, digest LIMIT ?) RETURNING *`,
  takeUses: `
    DELETE FROM old_uses WHERE digest IN (SELECT digest FROM old_uses ORDER BY digest LIMIT ?) RETURNING *`,
  takeNames: `
    DELETE FROM old_manifest_names WHERE (manifest, named) IN
      (SELECT manifest, named FROM old_manifest_names ORDER BY manifest, named LIMIT ?) RETURNING *`,
} as const
