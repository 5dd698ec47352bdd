-- How much is held of all clusters is added up in the order of this index, and from it alone.
CREATE INDEX stored_of_all ON stored (kind, level, day, objects, bytes);
