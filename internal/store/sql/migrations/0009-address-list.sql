-- Addresses that are always or never let in, and those that guard banned.
CREATE TABLE address_rule (
  network    TEXT    PRIMARY KEY,
  allow      INTEGER NOT NULL CHECK (allow IN (0, 1)),
  note       TEXT    NOT NULL,
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  created_by TEXT    NOT NULL
) STRICT;

CREATE TABLE ban (
  source     TEXT    NOT NULL,
  scope      TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  user_agent TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  count      INTEGER NOT NULL,
  since      INTEGER NOT NULL,
  until      INTEGER NOT NULL,
  PRIMARY KEY (source, scope)
) STRICT;
