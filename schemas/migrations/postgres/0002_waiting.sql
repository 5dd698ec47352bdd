-- What was filled by version 1 lacks what follows, and all of it is in the vault: the next sync fills it again.
DELETE FROM clusters;

-- Why the newest drill or verification does not say that all is well.
ALTER TABLE clusters ADD COLUMN unsound TEXT;

-- A revision of the source that was not in the vault when a head told of it, and the heartbeat of that head. Absent where the vault has
-- all that the head tells of.
ALTER TABLE heads ADD COLUMN behind_revision BIGINT;
ALTER TABLE heads ADD COLUMN behind_ms BIGINT;

-- How many revisions the longest segment of a timeline holds: one that reaches into a range begins not further before it.
CREATE TABLE spans (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    longest BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline)
);

-- HashKV as the source reported it, in bases and segments; in the order in which it is told.
DROP TABLE checkpoints;
CREATE TABLE checkpoints (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    compact_revision BIGINT NOT NULL,
    hash BIGINT NOT NULL,
    -- The base or segment that says so.
    uid TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision, compact_revision, hash, uid)
);
CREATE INDEX checkpoints_by_uid ON checkpoints (cluster_id, timeline, uid);
