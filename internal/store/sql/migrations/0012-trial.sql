-- The change of settings that is taken back unless it is confirmed, with what
-- to return to.
CREATE TABLE trial (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  name     TEXT    NOT NULL,  -- what the confirmation has to say
  made_by  TEXT    NOT NULL,
  rev      INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  window   INTEGER NOT NULL,
  undo     TEXT    NOT NULL  -- JSON
) STRICT;
