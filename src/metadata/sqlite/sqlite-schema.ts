/** Deletes a digest that nothing refers to any more. */
const reclaimDigest = (id: string) => `
    DELETE FROM digests WHERE id = ${id}
      AND NOT EXISTS (SELECT 1 FROM uses WHERE digest = ${id})
      AND NOT EXISTS (SELECT 1 FROM links WHERE digest = ${id})
      AND NOT EXISTS (SELECT 1 FROM tags WHERE digest = ${id})
      AND NOT EXISTS (SELECT 1 FROM manifest_names WHERE manifest = ${id})
      AND NOT EXISTS (SELECT 1 FROM manifest_names WHERE named = ${id});`

const reclaimRepository = (id: string) => `
    DELETE FROM repositories WHERE id = ${id}
      AND NOT EXISTS (SELECT 1 FROM links WHERE repository = ${id})
      AND NOT EXISTS (SELECT 1 FROM tags WHERE repository = ${id});`

const useMediaType = (id: string) => `
    UPDATE media_types SET users = users + 1 WHERE id = ${id};`

const leaveMediaType = (id: string) => `
    UPDATE media_types SET users = users - 1 WHERE id = ${id};
    DELETE FROM media_types WHERE id = ${id} AND users = 0;`

/** SQL from each version of the tables to the next; the first starts from nothing. A released step never changes. */
export const migrations = [
  /*
   * `uses` holds the last access to each blob. Triggers keep the row of totals exact in every transaction, without a
   * scan. Eviction reads the index on `at`, least recently used first.
   */
  `
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
  `,
  /* The content index (what manifests name, which repositories hold a digest, how old tags are), pins, and counts. */
  `
  CREATE TABLE manifest_names (
    manifest TEXT NOT NULL,
    named TEXT NOT NULL,
    PRIMARY KEY (manifest, named)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX manifest_names_by_named ON manifest_names (named);

  CREATE INDEX links_by_digest ON links (digest);
  CREATE INDEX tags_by_age ON tags (checked_at);

  CREATE TABLE pins (pattern TEXT NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID;

  CREATE TABLE count_totals (
    name TEXT NOT NULL PRIMARY KEY,
    value REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE count_buckets (
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (at, name)
  ) STRICT, WITHOUT ROWID;
  `,
  /*
   * Digests, repositories and media types stand once; all else refers to them by id. `stored-digest.ts` says how a digest
   * gets its id, by which all orders by digest are those of an index. A row of these three goes with the last row that
   * refers to it. The tables of before stay beside the new ones until their rows have been moved (`old-tables.ts`).
   */
  `
  ALTER TABLE tags RENAME TO old_tags;
  ALTER TABLE links RENAME TO old_links;
  ALTER TABLE uses RENAME TO old_uses;
  ALTER TABLE manifest_names RENAME TO old_manifest_names;

  CREATE TABLE digests (
    id INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
  ) STRICT;
  CREATE TABLE repositories (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  ) STRICT;
  CREATE TABLE media_types (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    users INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE tags (
    repository INTEGER NOT NULL,
    tag TEXT NOT NULL,
    digest INTEGER NOT NULL,
    media_type INTEGER NOT NULL,
    size INTEGER NOT NULL,
    etag TEXT,
    checked_at INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX tags_of_digest ON tags (digest, repository);
  CREATE INDEX tags_by_time ON tags (checked_at);

  CREATE TABLE links (
    repository INTEGER NOT NULL,
    is_manifest INTEGER NOT NULL,
    digest INTEGER NOT NULL,
    size INTEGER,
    media_type INTEGER NOT NULL,
    is_public INTEGER NOT NULL,
    PRIMARY KEY (repository, is_manifest, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX links_of_digest ON links (digest);

  CREATE TABLE uses (
    digest INTEGER NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX uses_by_time ON uses (at);

  CREATE TABLE manifest_names (
    manifest INTEGER NOT NULL,
    named INTEGER NOT NULL,
    PRIMARY KEY (manifest, named)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX names_of_digest ON manifest_names (named);

  CREATE TRIGGER use_counted AFTER INSERT ON uses BEGIN
    UPDATE totals SET blobs = blobs + 1, bytes = bytes + new.size;
  END;
  CREATE TRIGGER use_recounted AFTER UPDATE OF size ON uses WHEN new.size <> old.size BEGIN
    UPDATE totals SET bytes = bytes + new.size - old.size;
  END;
  CREATE TRIGGER use_deleted AFTER DELETE ON uses BEGIN
    UPDATE totals SET blobs = blobs - 1, bytes = bytes - old.size;${reclaimDigest('old.digest')}
  END;

  CREATE TRIGGER name_deleted AFTER DELETE ON manifest_names BEGIN${reclaimDigest('old.named')}${reclaimDigest('old.manifest')}
  END;

  CREATE TRIGGER link_added AFTER INSERT ON links BEGIN${useMediaType('new.media_type')}
  END;
  CREATE TRIGGER link_retyped AFTER UPDATE OF media_type ON links WHEN new.media_type <> old.media_type BEGIN
    ${useMediaType('new.media_type')}${leaveMediaType('old.media_type')}
  END;
  CREATE TRIGGER link_deleted AFTER DELETE ON links BEGIN
    ${leaveMediaType('old.media_type')}${reclaimRepository('old.repository')}${reclaimDigest('old.digest')}
  END;

  CREATE TRIGGER tag_added AFTER INSERT ON tags BEGIN${useMediaType('new.media_type')}
  END;
  CREATE TRIGGER tag_retyped AFTER UPDATE OF media_type ON tags WHEN new.media_type <> old.media_type BEGIN
    ${useMediaType('new.media_type')}${leaveMediaType('old.media_type')}
  END;
  CREATE TRIGGER tag_moved AFTER UPDATE OF digest ON tags WHEN new.digest <> old.digest BEGIN${reclaimDigest('old.digest')}
  END;
  CREATE TRIGGER tag_deleted AFTER DELETE ON tags BEGIN
    ${leaveMediaType('old.media_type')}${reclaimRepository('old.repository')}${reclaimDigest('old.digest')}
  END;
  `,
] as const

/** What is left of version 2 when its rows have been moved. */
export const dropOldTables = `
  DROP TABLE old_tags;
  DROP TABLE old_links;
  DROP TABLE old_uses;
  DROP TABLE old_manifest_names;
`

/** The version after the last step. */
export const schemaVersion = migrations.length
