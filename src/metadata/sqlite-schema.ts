/** Counts up with every change of the tables below; a change comes with the statements that lead there from before. */
export const schemaVersion = 1

/**
 * The totals row follows `uses` by triggers, so that it is exact in every transaction and costs no scan; the index on
 * `at` is what eviction reads from its cold end.
 */
export const schema = `
  CREATE TABLE tags (
    repository TEXT NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE links (
    repository TEXT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER,
    media_type TEXT NOT NULL,
    visibility TEXT NOT NULL,
    PRIMARY KEY (repository, kind, digest)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE uses (
    digest TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX uses_by_age ON uses (at);

  CREATE TABLE totals (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    blobs INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT;
  INSERT INTO totals VALUES (1, 0, 0);

  CREATE TRIGGER use_added AFTER INSERT ON uses BEGIN
    UPDATE totals SET blobs = blobs + 1, bytes = bytes + new.size;
  END;
  CREATE TRIGGER use_resized AFTER UPDATE OF size ON uses WHEN new.size <> old.size BEGIN
    UPDATE totals SET bytes = bytes + new.size - old.size;
  END;
  CREATE TRIGGER use_forgotten AFTER DELETE ON uses BEGIN
    UPDATE totals SET blobs = blobs - 1, bytes = bytes - old.size;
  END;

  PRAGMA user_version = ${schemaVersion};
`

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
  recordUse: `
    INSERT INTO uses VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET size = excluded.size, at = excluded.at WHERE excluded.at >= at`,
  coldest: 'SELECT digest, size, at FROM uses ORDER BY at LIMIT ?',
  forgetUse: 'DELETE FROM uses WHERE digest = ? AND at = ?',
  usage: 'SELECT blobs, bytes FROM totals',
} as const
