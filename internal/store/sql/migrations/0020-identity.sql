CREATE TABLE user_identity (
  tenant_id INTEGER NOT NULL,
  user_id   INTEGER NOT NULL,
  issuer    TEXT    NOT NULL,
  subject   TEXT    NOT NULL,
  PRIMARY KEY (tenant_id, user_id),
  UNIQUE (tenant_id, issuer, subject),
  FOREIGN KEY (tenant_id, user_id) REFERENCES user (tenant_id, id) ON DELETE CASCADE
) STRICT;
