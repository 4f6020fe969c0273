-- Bans that the packet filter's meters set, a journal of attacks, and how many
-- packets were dropped and let in over time.
ALTER TABLE ban ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ban ADD COLUMN port TEXT NOT NULL DEFAULT '';

CREATE TABLE attack (
  id         INTEGER PRIMARY KEY,
  at         INTEGER NOT NULL,
  source     TEXT    NOT NULL,
  scope      TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  level      INTEGER NOT NULL,
  port       TEXT    NOT NULL,
  user_agent TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  count      INTEGER NOT NULL,
  until      INTEGER NOT NULL
) STRICT;

CREATE TABLE packet_history (
  step    INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  covered INTEGER NOT NULL,
  counts  TEXT    NOT NULL,
  PRIMARY KEY (step, at)
) STRICT;
