-- Published presence outlives a restart.
CREATE TABLE publication (
  tenant_id    INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  tag          TEXT    NOT NULL,  -- entity-tag
  number       TEXT    NOT NULL,
  open         INTEGER NOT NULL,
  activities   TEXT    NOT NULL,  -- words
  note         TEXT    NOT NULL,
  published_at INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, tag)
) STRICT;
