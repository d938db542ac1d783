/** The tables of the first version, as it wrote them. */
export const versionOne = `
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

  PRAGMA user_version = 1;
`
