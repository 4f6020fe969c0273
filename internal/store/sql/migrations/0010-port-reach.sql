-- From where a port can be reached: zones, and the only sources within them.
ALTER TABLE node_port ADD COLUMN zones TEXT;
ALTER TABLE node_port ADD COLUMN sources TEXT;
