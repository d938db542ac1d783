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
] as const

/** The version after the last step. */
export const schemaVersion = migrations.length
