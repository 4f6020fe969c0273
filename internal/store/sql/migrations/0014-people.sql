-- Where a tenant is and how much it may have; what extensions may dial; roles
-- and groups. An extension has one user at most: of several, which no interface
-- could make, the first keeps it.
ALTER TABLE tenant ADD COLUMN time_zone      TEXT    NOT NULL DEFAULT 'UTC';
ALTER TABLE tenant ADD COLUMN country        TEXT    NOT NULL DEFAULT '';
ALTER TABLE tenant ADD COLUMN max_extensions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tenant ADD COLUMN max_users      INTEGER NOT NULL DEFAULT 0;
ALTER TABLE extension ADD COLUMN role TEXT NOT NULL DEFAULT 'standard';
UPDATE user SET extension_id = NULL WHERE extension_id IS NOT NULL AND EXISTS (
  SELECT 1 FROM user o WHERE o.tenant_id = user.tenant_id AND o.extension_id = user.extension_id AND o.id < user.id);
DROP INDEX user_extension;
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
