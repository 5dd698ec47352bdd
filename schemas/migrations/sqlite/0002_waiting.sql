-- What was filled by version 1 lacks what follows, and all of it is in the vault: the next sync fills it again.
DELETE FROM clusters;

-- Why the newest drill or verification does not say that all is well.
ALTER TABLE clusters ADD COLUMN unsound TEXT;

-- A revision of the source that was not in the vault when a head told of it, and the heartbeat of that head. Absent where the vault has
-- all that the head tells of.
ALTER TABLE heads ADD COLUMN behind_revision INTEGER;
ALTER TABLE heads ADD COLUMN behind_ms INTEGER;

-- How many revisions the longest segment of a timeline holds: one that reaches into a range begins not further before it.
CREATE TABLE spans (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    longest INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline)
) STRICT, WITHOUT ROWID;

-- HashKV as the source reported it, in bases and segments; in the order in which it is told.
DROP TABLE checkpoints;
CREATE TABLE checkpoints (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    compact_revision INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    -- The base or segment that says so.
    uid TEXT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision, compact_revision, hash, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX checkpoints_by_uid ON checkpoints (cluster_id, timeline, uid);
