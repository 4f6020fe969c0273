-- Event subscriptions outlive a restart.
CREATE TABLE subscription (
  tenant_id  INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  local_tag  TEXT    NOT NULL,
  subscriber TEXT    NOT NULL,
  resource   TEXT    NOT NULL,
  event      TEXT    NOT NULL,
  event_id   TEXT    NOT NULL,
  call_id    TEXT    NOT NULL,
  remote_tag TEXT    NOT NULL,
  local_uri  TEXT    NOT NULL,
  remote_uri TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  routes     TEXT    NOT NULL,  -- one a line
  local_seq  INTEGER NOT NULL,
  remote_seq INTEGER NOT NULL,
  version    INTEGER NOT NULL,  -- of the last document
  node_id    TEXT    NOT NULL,
  epoch      INTEGER NOT NULL,
  listener   TEXT    NOT NULL,
  local      TEXT    NOT NULL,
  remote     TEXT    NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, local_tag)
) STRICT;
