CREATE TABLE api_token (
  tenant_id   INTEGER NOT NULL,
  user_id     INTEGER NOT NULL,
  id          INTEGER NOT NULL,
  name        TEXT    NOT NULL,
  hash        BLOB    NOT NULL UNIQUE,
  read_only   INTEGER NOT NULL CHECK (read_only IN (0, 1)),
  permissions TEXT    NOT NULL,
  sources     TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER,
  used_at     INTEGER,
  used_from   TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, user_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE invite (
  tenant_id  INTEGER NOT NULL,
  user_id    INTEGER NOT NULL,
  hash       BLOB    NOT NULL UNIQUE,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, user_id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;
