-- The newest schema, whole. Every opened database is compared with it; older
-- databases reach it through sql/migrations. STRICT everywhere; no REAL
-- columns (the row sums want one exact representation); times are Unix
-- microseconds, durations milliseconds, NULL is "never".
--
-- Tenant rows have composite keys (tenant_id, ...), so that a foreign key can
-- never point into another tenant. Facts of one machine (addresses, ports)
-- stand in node_* tables only.

-- One row: what this database is and how far it has come.
CREATE TABLE meta (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  version     INTEGER NOT NULL,  -- of the schema; equals PRAGMA user_version
  rev         INTEGER NOT NULL,  -- of the settings
  commits     INTEGER NOT NULL,  -- every committed write transaction
  next_tenant INTEGER NOT NULL,  -- ids are never used twice
  key_id      TEXT    NOT NULL,  -- fingerprint of the key file
  created_at  INTEGER NOT NULL
) STRICT;

-- Per table the number of rows and a keyed sum over all of them.
CREATE TABLE row_sum (
  name  TEXT PRIMARY KEY,
  count INTEGER NOT NULL,
  sum   BLOB    NOT NULL
) STRICT;

-- Hash-chained history of all changes: audit log and configuration history.
CREATE TABLE change (
  seq        INTEGER PRIMARY KEY,
  rev        INTEGER NOT NULL,
  tenant_id  INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  actor_kind TEXT    NOT NULL,
  actor_name TEXT    NOT NULL,
  actor_addr TEXT    NOT NULL,
  kind       TEXT    NOT NULL,
  object     TEXT    NOT NULL,
  payload    TEXT    NOT NULL,  -- JSON, never a secret
  prev       BLOB    NOT NULL,
  hash       BLOB    NOT NULL
) STRICT;
CREATE INDEX change_tenant ON change (tenant_id, seq);
CREATE INDEX change_rev ON change (rev, seq);

-- This machine and, one day, its peers.
CREATE TABLE node (
  id    TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL  -- counts starts
) STRICT;

CREATE TABLE node_setting (
  node_id TEXT NOT NULL REFERENCES node (id),
  name    TEXT NOT NULL,
  value   TEXT NOT NULL,  -- JSON
  PRIMARY KEY (node_id, name)
) STRICT;

CREATE TABLE node_port (
  node_id TEXT    NOT NULL REFERENCES node (id),
  service TEXT    NOT NULL,
  enabled INTEGER CHECK (enabled IN (0, 1)),  -- NULL keeps the table's default
  first   INTEGER NOT NULL CHECK (first BETWEEN 0 AND 65535),
  last    INTEGER NOT NULL CHECK (last BETWEEN 0 AND 65535),
  zones   TEXT,  -- JSON; NULL keeps the table's
  sources TEXT,  -- JSON; NULL is everybody
  PRIMARY KEY (node_id, service)
) STRICT;

CREATE TABLE setting (
  name  TEXT PRIMARY KEY,
  value TEXT NOT NULL  -- JSON
) STRICT;

-- Row 0 is the box itself, home of its administrators.
CREATE TABLE tenant (
  id              INTEGER PRIMARY KEY,
  name            TEXT    NOT NULL,
  domain          TEXT    NOT NULL UNIQUE,
  extension_first TEXT    NOT NULL,
  extension_last  TEXT    NOT NULL,
  next_id         INTEGER NOT NULL DEFAULT 1,  -- of its users and extensions
  digest           TEXT    NOT NULL DEFAULT 'md5' CHECK (digest IN ('md5', 'both', 'sha256')),
  tls_only         INTEGER NOT NULL DEFAULT 0 CHECK (tls_only IN (0, 1)),
  max_contacts     INTEGER NOT NULL DEFAULT 10,
  qualify_interval INTEGER NOT NULL DEFAULT 30000,
  qualify_failures INTEGER NOT NULL DEFAULT 3,
  media_security   TEXT    NOT NULL DEFAULT 'offer',   -- of new extensions
  session_timers   TEXT    NOT NULL DEFAULT 'accept',
  session_expires  INTEGER NOT NULL DEFAULT 1800000,
  session_min      INTEGER NOT NULL DEFAULT 90000,
  dead_media       INTEGER NOT NULL DEFAULT 600000,
  tones            TEXT    NOT NULL DEFAULT 'ITU',      -- country
  music_on_hold    TEXT    NOT NULL DEFAULT 'pbx',
  time_zone        TEXT    NOT NULL DEFAULT 'UTC',      -- IANA
  country          TEXT    NOT NULL DEFAULT '',
  max_extensions   INTEGER NOT NULL DEFAULT 0,  -- 0 is no limit
  max_users        INTEGER NOT NULL DEFAULT 0,
  CHECK ((id = 0) = (domain = ''))
) STRICT;

-- What a tenant, or row 0 for the administrators of the box, has set
-- otherwise than by default.
CREATE TABLE tenant_setting (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  name      TEXT    NOT NULL,
  value     TEXT    NOT NULL,  -- JSON
  PRIMARY KEY (tenant_id, name)
) STRICT;

CREATE TABLE extension (
  tenant_id      INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id             INTEGER NOT NULL,
  number         TEXT    NOT NULL,
  display_name   TEXT    NOT NULL,
  no_answer      INTEGER NOT NULL,
  provision_path TEXT    NOT NULL UNIQUE,
  ha1            TEXT    NOT NULL,
  ha1_sha256     TEXT    NOT NULL,
  sip_password   BLOB    NOT NULL,  -- AES-256-GCM, bound to tenant and number
  forward_always       TEXT    NOT NULL DEFAULT '',
  forward_busy         TEXT    NOT NULL DEFAULT '',
  forward_no_answer    TEXT    NOT NULL DEFAULT '',
  forward_unregistered TEXT    NOT NULL DEFAULT '',
  do_not_disturb       INTEGER NOT NULL DEFAULT 0 CHECK (do_not_disturb IN (0, 1)),
  max_calls            INTEGER NOT NULL DEFAULT 0,
  ring_also            TEXT    NOT NULL DEFAULT '',  -- numbers, joined with commas
  media_security       TEXT    NOT NULL DEFAULT 'offer',
  dtmf                 TEXT    NOT NULL DEFAULT 'auto',
  role                 TEXT    NOT NULL DEFAULT 'standard',  -- while no user has it
  emergency_location   TEXT    NOT NULL DEFAULT '',  -- where its phones are
  emergency_callback   TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, number),
  CHECK (tenant_id <> 0)
) STRICT;

CREATE TABLE user (
  tenant_id     INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id            INTEGER NOT NULL,
  name          TEXT    NOT NULL UNIQUE,
  first_name    TEXT    NOT NULL,
  last_name     TEXT    NOT NULL,
  email         TEXT    NOT NULL,
  phone         TEXT    NOT NULL,
  role          TEXT    NOT NULL,
  extension_id  INTEGER,
  must_change   INTEGER NOT NULL CHECK (must_change IN (0, 1)),
  created_at    INTEGER NOT NULL,
  password_hash TEXT    NOT NULL,  -- argon2id
  PRIMARY KEY (tenant_id, id),
  FOREIGN KEY (tenant_id, extension_id) REFERENCES extension (tenant_id, id),
  CHECK ((role = 'system_admin') = (tenant_id = 0))
) STRICT;
CREATE UNIQUE INDEX user_extension ON user (tenant_id, extension_id);

-- Roles that people made; those of every tenant stand in the program.
CREATE TABLE role (
  tenant_id   INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  name        TEXT    NOT NULL,
  description TEXT    NOT NULL,
  permissions TEXT    NOT NULL,  -- joined with commas
  classes     TEXT    NOT NULL,  -- of numbers, joined with commas
  PRIMARY KEY (tenant_id, name),
  CHECK (tenant_id <> 0)
) STRICT;

-- Groups of extensions.
CREATE TABLE extension_group (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id        INTEGER NOT NULL,
  name      TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  CHECK (tenant_id <> 0)
) STRICT;

CREATE TABLE extension_group_member (
  tenant_id    INTEGER NOT NULL,
  group_id     INTEGER NOT NULL,
  extension_id INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, group_id, extension_id),
  FOREIGN KEY (tenant_id, group_id) REFERENCES extension_group (tenant_id, id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, extension_id) REFERENCES extension (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX extension_group_of ON extension_group_member (tenant_id, extension_id);

-- Authenticator apps (RFC 6238).
CREATE TABLE totp (
  tenant_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  secret    BLOB    NOT NULL,  -- AES-256-GCM, bound to tenant and user
  confirmed INTEGER NOT NULL CHECK (confirmed IN (0, 1)),
  last_step INTEGER NOT NULL,  -- of the code used last
  PRIMARY KEY (tenant_id, user_id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- Codes that stand in for a lost authenticator app, once each: 80 random bits,
-- kept as SHA-256.
CREATE TABLE recovery_code (
  tenant_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  id        INTEGER NOT NULL,
  hash      BLOB    NOT NULL,
  PRIMARY KEY (tenant_id, user_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

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
  peers             TEXT    NOT NULL,  -- JSON
  peer_port         INTEGER NOT NULL,
  user              TEXT    NOT NULL,
  auth_user         TEXT    NOT NULL,
  password          BLOB    NOT NULL,  -- AES-256-GCM, bound to tenant and id; empty is none
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
  headers           TEXT    NOT NULL,  -- JSON
  caps              TEXT    NOT NULL,  -- JSON
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, name),
  CHECK (tenant_id <> 0)
) STRICT;

-- Numbers that come in by a trunk; no two tenants have the same.
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
  connect   INTEGER NOT NULL,  -- millionths of the tenant's currency
  minute    INTEGER NOT NULL,
  first     INTEGER NOT NULL,
  next      INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, trunk_id, prefix),
  FOREIGN KEY (tenant_id, trunk_id) REFERENCES trunk (tenant_id, id) ON DELETE CASCADE
) STRICT;

CREATE TABLE schedule (
  tenant_id INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  name      TEXT    NOT NULL,
  week      TEXT    NOT NULL,  -- JSON
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
  conditions TEXT    NOT NULL,  -- JSON
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
  targets   TEXT    NOT NULL,  -- JSON
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

-- Tokens that programs use in place of a log-in: 256 random bits, kept as
-- SHA-256.
CREATE TABLE api_token (
  tenant_id   INTEGER NOT NULL,
  user_id     INTEGER NOT NULL,
  id          INTEGER NOT NULL,
  name        TEXT    NOT NULL,
  hash        BLOB    NOT NULL UNIQUE,
  read_only   INTEGER NOT NULL CHECK (read_only IN (0, 1)),
  permissions TEXT    NOT NULL,  -- JSON; null is all the user has
  sources     TEXT    NOT NULL,  -- JSON; null is everywhere
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER,
  used_at     INTEGER,
  used_from   TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, user_id, id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- One-time links by which people set their first password: 256 random bits,
-- kept as SHA-256.
CREATE TABLE invite (
  tenant_id  INTEGER NOT NULL,
  user_id    INTEGER NOT NULL,
  hash       BLOB    NOT NULL UNIQUE,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, user_id),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- Whom a tenant's sign-in provider (OpenID Connect) calls what.
CREATE TABLE user_identity (
  tenant_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  issuer    TEXT    NOT NULL,
  subject   TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, user_id),
  UNIQUE (tenant_id, issuer, subject),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;

-- Web sessions; the cookie's value is kept as its hash only.
CREATE TABLE session (
  hash       BLOB PRIMARY KEY,
  tenant_id  INTEGER NOT NULL,
  user_id    INTEGER NOT NULL,
  csrf       TEXT    NOT NULL,
  addr       TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  agent      TEXT    NOT NULL DEFAULT '',
  factor_owed INTEGER NOT NULL DEFAULT 0 CHECK (factor_owed IN (0, 1)),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX session_user ON session (tenant_id, user_id);

-- Failed log-ins, per source prefix and per account.
CREATE TABLE lockout (
  kind      TEXT    NOT NULL CHECK (kind IN ('address', 'account')),
  subject   TEXT    NOT NULL,
  failures  INTEGER NOT NULL,
  failed_at INTEGER NOT NULL,
  until     INTEGER,
  PRIMARY KEY (kind, subject)
) STRICT;

-- Addresses that are always or never let in.
CREATE TABLE address_rule (
  network    TEXT    PRIMARY KEY,
  allow      INTEGER NOT NULL CHECK (allow IN (0, 1)),
  note       TEXT    NOT NULL,
  expires_at INTEGER,
  created_at INTEGER NOT NULL,
  created_by TEXT    NOT NULL
) STRICT;

-- Sources that are banned: by guard, log-in and provisioning, and those above a
-- level of the packet filter's meters.
CREATE TABLE ban (
  source     TEXT    NOT NULL,
  scope      TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  user_agent TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  count      INTEGER NOT NULL,
  since      INTEGER NOT NULL,
  until      INTEGER NOT NULL,
  level      INTEGER NOT NULL DEFAULT 0,
  port       TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (source, scope)
) STRICT;

-- The journal of attacks: the newest ones.
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

-- How many packets were dropped, by cause, and let in, by row of the port table:
-- counts is a JSON object. step and covered are milliseconds: covered is how much
-- of the step somebody counted.
CREATE TABLE packet_history (
  step    INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  covered INTEGER NOT NULL,
  counts  TEXT    NOT NULL,
  PRIMARY KEY (step, at)
) STRICT;

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

-- What the configuration was, to look at and to return to.
CREATE TABLE revision (
  rev      INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,
  document BLOB    NOT NULL  -- gzip; secrets in it are sealed
) STRICT;

-- Registrations, written behind so that they survive a restart. RFC 5626
-- section 6: instance and reg-id identify a flow, else the Contact does.
CREATE TABLE binding (
  tenant_id     INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  aor_user      TEXT    NOT NULL,
  aor_domain    TEXT    NOT NULL,
  contact       TEXT    NOT NULL,
  instance      TEXT    NOT NULL,
  reg_id        INTEGER NOT NULL,
  q             INTEGER NOT NULL,  -- thousandths
  call_id       TEXT    NOT NULL,
  cseq          INTEGER NOT NULL,
  user_agent    TEXT    NOT NULL,
  node_id       TEXT    NOT NULL,
  epoch         INTEGER NOT NULL,
  listener      TEXT    NOT NULL,
  local         TEXT    NOT NULL,
  remote        TEXT    NOT NULL,
  token         TEXT    NOT NULL,
  registered_at INTEGER NOT NULL,
  expires_at    INTEGER NOT NULL,
  outbound      INTEGER NOT NULL DEFAULT 0,
  nat           INTEGER NOT NULL DEFAULT 0,
  path          TEXT    NOT NULL DEFAULT '',
  pn_provider   TEXT    NOT NULL DEFAULT '',
  pn_prid       TEXT    NOT NULL DEFAULT '',
  pn_param      TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, aor_user, contact, instance, reg_id)
) STRICT;

-- Event subscriptions (RFC 6665) of phones that can be reached after a restart,
-- written behind.
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

-- Published presence (RFC 3903), written behind.
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

-- Call detail records, one row per finished call.
CREATE TABLE call_record (
  tenant_id      INTEGER NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
  id             TEXT    NOT NULL,
  node_id        TEXT    NOT NULL,
  direction      TEXT    NOT NULL,
  caller_number  TEXT    NOT NULL,
  caller_name    TEXT    NOT NULL,
  caller_addr    TEXT    NOT NULL,
  callee_number  TEXT    NOT NULL,
  callee_name    TEXT    NOT NULL,
  callee_addr    TEXT    NOT NULL,
  started_at     INTEGER NOT NULL,
  rang_at        INTEGER,
  answered_at    INTEGER,
  ended_at       INTEGER NOT NULL,
  reason         TEXT    NOT NULL,
  status         INTEGER NOT NULL,
  caller_codec   TEXT    NOT NULL,
  caller_packets INTEGER NOT NULL,
  caller_dropped INTEGER NOT NULL,
  caller_lost    INTEGER NOT NULL,
  caller_jitter  INTEGER NOT NULL,  -- microseconds
  callee_codec   TEXT    NOT NULL,
  callee_packets INTEGER NOT NULL,
  callee_dropped INTEGER NOT NULL,
  callee_lost    INTEGER NOT NULL,
  callee_jitter  INTEGER NOT NULL,
  forwarded_by   TEXT    NOT NULL DEFAULT '',  -- numbers, joined with commas
  transferred_by TEXT    NOT NULL DEFAULT '',
  previous_id    TEXT    NOT NULL DEFAULT '',
  next_id        TEXT    NOT NULL DEFAULT '',
  alarm          TEXT    NOT NULL DEFAULT '',
  caller_suite         TEXT    NOT NULL DEFAULT '',  -- of SRTP; empty is plain RTP
  caller_mos           INTEGER NOT NULL DEFAULT 0,  -- thousandths; 0 is unknown
  caller_worst_mos     INTEGER NOT NULL DEFAULT 0,
  caller_sent          INTEGER NOT NULL DEFAULT 0,
  caller_reported      INTEGER NOT NULL DEFAULT 0,
  caller_to_lost       INTEGER NOT NULL DEFAULT 0,
  caller_to_jitter     INTEGER NOT NULL DEFAULT 0,  -- microseconds
  caller_to_mos        INTEGER NOT NULL DEFAULT 0,
  caller_to_worst_mos  INTEGER NOT NULL DEFAULT 0,
  caller_rtt           INTEGER NOT NULL DEFAULT 0,  -- microseconds
  caller_malformed     INTEGER NOT NULL DEFAULT 0,
  caller_forged        INTEGER NOT NULL DEFAULT 0,
  caller_history       BLOB    NOT NULL DEFAULT x'',  -- MOS times 10, from and to the phone by turns
  caller_step          INTEGER NOT NULL DEFAULT 0,  -- of the history, microseconds
  callee_suite         TEXT    NOT NULL DEFAULT '',  -- of SRTP; empty is plain RTP
  callee_mos           INTEGER NOT NULL DEFAULT 0,  -- thousandths; 0 is unknown
  callee_worst_mos     INTEGER NOT NULL DEFAULT 0,
  callee_sent          INTEGER NOT NULL DEFAULT 0,
  callee_reported      INTEGER NOT NULL DEFAULT 0,
  callee_to_lost       INTEGER NOT NULL DEFAULT 0,
  callee_to_jitter     INTEGER NOT NULL DEFAULT 0,  -- microseconds
  callee_to_mos        INTEGER NOT NULL DEFAULT 0,
  callee_to_worst_mos  INTEGER NOT NULL DEFAULT 0,
  callee_rtt           INTEGER NOT NULL DEFAULT 0,  -- microseconds
  callee_malformed     INTEGER NOT NULL DEFAULT 0,
  callee_forged        INTEGER NOT NULL DEFAULT 0,
  callee_history       BLOB    NOT NULL DEFAULT x'',  -- MOS times 10, from and to the phone by turns
  callee_step          INTEGER NOT NULL DEFAULT 0,  -- of the history, microseconds
  ended_by             TEXT    NOT NULL DEFAULT '',
  dialled              TEXT    NOT NULL DEFAULT '',  -- by the caller
  sent                 TEXT    NOT NULL DEFAULT '',  -- to the trunk
  caller_id            TEXT    NOT NULL DEFAULT '',  -- shown to the other side; empty is withheld
  in_trunk             INTEGER NOT NULL DEFAULT 0,  -- 0 is none
  did                  TEXT    NOT NULL DEFAULT '',
  out_trunk            INTEGER NOT NULL DEFAULT 0,  -- 0 is none
  class                TEXT    NOT NULL DEFAULT '',
  account              TEXT    NOT NULL DEFAULT '',  -- extension that paid
  emergency            INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, id)
) STRICT;
CREATE INDEX call_record_started ON call_record (tenant_id, started_at, id);
CREATE INDEX call_record_caller ON call_record (tenant_id, caller_number, started_at, id);
CREATE INDEX call_record_callee ON call_record (tenant_id, callee_number, started_at, id);
