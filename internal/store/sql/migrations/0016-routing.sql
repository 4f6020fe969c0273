-- Trunks, rules, hours and all else that decides where calls of a tenant go.
CREATE TABLE trunk (
  tenant_id         INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id                INTEGER NOT NULL,
  name              TEXT    NOT NULL,
  kind              TEXT    NOT NULL CHECK (kind IN ('register', 'peer', 'accept')),
  enabled           INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  host              TEXT    NOT NULL,
  port              INTEGER NOT NULL,
  transport         TEXT    NOT NULL,
  outbound_proxy    TEXT    NOT NULL,
  interface         TEXT    NOT NULL,
  peers             TEXT    NOT NULL,
  peer_port         INTEGER NOT NULL,
  user              TEXT    NOT NULL,
  auth_user         TEXT    NOT NULL,
  password          BLOB    NOT NULL,
  register_interval INTEGER NOT NULL,
  options_interval  INTEGER NOT NULL,
  media_security    TEXT    NOT NULL,
  dtmf              TEXT    NOT NULL,
  max_calls         INTEGER NOT NULL,
  number_format     TEXT    NOT NULL,
  caller_id         TEXT    NOT NULL,
  keep_caller_id    INTEGER NOT NULL CHECK (keep_caller_id IN (0, 1)),
  identity          TEXT    NOT NULL,
  trust_identity    INTEGER NOT NULL CHECK (trust_identity IN (0, 1)),
  dialled_in        TEXT    NOT NULL,
  headers           TEXT    NOT NULL,
  caps              TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  CHECK (tenant_id <> 0)
) STRICT;

CREATE TABLE trunk_did (
  tenant_id INTEGER NOT NULL,
  trunk_id  INTEGER NOT NULL,
  first     TEXT    NOT NULL,
  last      TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, trunk_id, first),
  FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunk (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX trunk_did_number ON trunk_did (first, last);

CREATE TABLE trunk_rate (
  tenant_id INTEGER NOT NULL,
  trunk_id  INTEGER NOT NULL,
  prefix    TEXT    NOT NULL,
  name      TEXT    NOT NULL,
  connect   INTEGER NOT NULL,
  minute    INTEGER NOT NULL,
  first     INTEGER NOT NULL,
  next      INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, trunk_id, prefix),
  FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunk (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE schedule (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  name      TEXT    NOT NULL,
  week      TEXT    NOT NULL,
  holidays  TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, name),
  CHECK (tenant_id <> 0)
) STRICT;

CREATE TABLE outbound_rule (
  tenant_id  INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id         INTEGER NOT NULL,
  name       TEXT    NOT NULL,
  enabled    INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  priority   INTEGER NOT NULL,
  conditions TEXT    NOT NULL,
  hours      TEXT,
  route_order TEXT   NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, hours) REFERENCES schedule (tenant_id, name) ON UPDATE CASCADE,
  CHECK (tenant_id <> 0)
) STRICT;
CREATE INDEX outbound_rule_hours ON outbound_rule (tenant_id, hours);

CREATE TABLE outbound_route (
  tenant_id INTEGER NOT NULL,
  rule_id   INTEGER NOT NULL,
  place     INTEGER NOT NULL,
  trunk_id  INTEGER NOT NULL,
  strip     INTEGER NOT NULL,
  prepend   TEXT    NOT NULL,
  caller_id TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, rule_id, place),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES outbound_rule (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunk (tenant_id, id)
) STRICT;
CREATE INDEX outbound_route_trunk ON outbound_route (tenant_id, trunk_id);

CREATE TABLE outbound_group (
  tenant_id INTEGER NOT NULL,
  rule_id   INTEGER NOT NULL,
  place     INTEGER NOT NULL,
  group_id  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, rule_id, place),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES outbound_rule (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, group_id) REFERENCES extension_group (tenant_id, id)
) STRICT;
CREATE INDEX outbound_group_group ON outbound_group (tenant_id, group_id);

CREATE TABLE inbound_rule (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id        INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  enabled   INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  priority  INTEGER NOT NULL,
  dids      TEXT    NOT NULL,
  caller    TEXT    NOT NULL,
  hours     TEXT,
  targets   TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  FOREIGN KEY (tenant_id, hours) REFERENCES schedule (tenant_id, name) ON UPDATE CASCADE,
  CHECK (tenant_id <> 0)
) STRICT;
CREATE INDEX inbound_rule_hours ON inbound_rule (tenant_id, hours);

CREATE TABLE inbound_trunk (
  tenant_id INTEGER NOT NULL,
  rule_id   INTEGER NOT NULL,
  place     INTEGER NOT NULL,
  trunk_id  INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, rule_id, place),
  FOREIGN KEY (tenant_id, rule_id) REFERENCES inbound_rule (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunk (tenant_id, id)
) STRICT;
CREATE INDEX inbound_trunk_trunk ON inbound_trunk (tenant_id, trunk_id);

CREATE TABLE routing (
  tenant_id        INTEGER PRIMARY KEY REFERENCES tenant (id) ON DELETE CASCADE,
  plan             TEXT    NOT NULL,
  currency         TEXT    NOT NULL,
  night            TEXT    NOT NULL CHECK (night IN ('auto', 'on')),
  reject_anonymous INTEGER NOT NULL CHECK (reject_anonymous IN (0, 1)),
  max_calls        INTEGER NOT NULL,
  caps             TEXT    NOT NULL,
  CHECK (tenant_id <> 0)
) STRICT;

CREATE TABLE emergency_route (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  place     INTEGER NOT NULL,
  trunk_id  INTEGER NOT NULL,
  strip     INTEGER NOT NULL,
  prepend   TEXT    NOT NULL,
  caller_id TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, place),
  FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunk (tenant_id, id)
) STRICT;
CREATE INDEX emergency_route_trunk ON emergency_route (tenant_id, trunk_id);

CREATE TABLE caller_block (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  caller    TEXT    NOT NULL,
  note      TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, caller),
  CHECK (tenant_id <> 0)
) STRICT;

CREATE TABLE contact (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id        INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  company   TEXT    NOT NULL,
  numbers   TEXT    NOT NULL,
  note      TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, id),
  CHECK (tenant_id <> 0)
) STRICT;
CREATE INDEX contact_name ON contact (tenant_id, name, id);

ALTER TABLE extension ADD COLUMN emergency_location TEXT NOT NULL DEFAULT '';
ALTER TABLE extension ADD COLUMN emergency_callback TEXT NOT NULL DEFAULT '';
