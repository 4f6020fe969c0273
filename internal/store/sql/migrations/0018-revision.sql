-- What the configuration was, to look at and to return to.
CREATE TABLE revision (
  rev      INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  document BLOB    NOT NULL  -- gzip; secrets in it are sealed
) STRICT;
CREATE INDEX change_rev ON change (rev, seq);
