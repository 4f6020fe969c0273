CREATE TABLE totp (
  tenant_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  secret    BLOB    NOT NULL,
  confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
  last_step INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, user_id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE recovery_code (
  tenant_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  id        INTEGER NOT NULL,
  hash      BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, user_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

ALTER TABLE session ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN factor_owed INTEGER NOT NULL DEFAULT 0 CHECK (factor_owed IN (0, 1));
