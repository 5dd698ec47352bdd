-- The catalog: an index of a vault. It can be rebuilt from the vault at any time, and nothing needs it to restore.
-- Revisions are etcd's; times are milliseconds since 1970: `stored_ms` by the object store's clock, all others by an agent's or a person's.

-- The vault that this is an index of; one row.
CREATE TABLE vault (
    id TEXT NOT NULL PRIMARY KEY
);

-- A cluster, with a summary of its newest timeline.
CREATE TABLE clusters (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    -- Goes up with every change, so that a writer sees whether another was faster.
    version BIGINT NOT NULL,
    -- When it was looked at, and when all of its names were listed, by the clock of whoever did.
    synced_ms BIGINT,
    listed_ms BIGINT,
    -- Why it could not be looked at the last time.
    error TEXT,
    timeline BIGINT,
    minimum BIGINT,
    maximum BIGINT,
    maximum_seen_ms BIGINT,
    base_revision BIGINT,
    base_stored_ms BIGINT,
    segment_stored_ms BIGINT,
    -- Revisions between the minimum and the maximum that cannot be brought back, by why.
    lost BIGINT NOT NULL,
    thinned BIGINT NOT NULL,
    missing BIGINT NOT NULL,
    damaged BIGINT NOT NULL,
    objects BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    -- The last restore that was proven.
    proven_revision BIGINT,
    proven_ms BIGINT
);
CREATE INDEX clusters_by_bytes ON clusters (bytes);

-- Words for groups of clusters, as the policy file says.
CREATE TABLE labels (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    label TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (cluster_id, label)
);
CREATE INDEX labels_by_label ON labels (label);

-- Each cluster's head, as agents wrote it last.
CREATE TABLE heads (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE PRIMARY KEY,
    timeline BIGINT NOT NULL,
    base_revision BIGINT NOT NULL,
    durable_revision BIGINT NOT NULL,
    heartbeat_ms BIGINT NOT NULL,
    source_revision BIGINT NOT NULL,
    compact_revision BIGINT NOT NULL,
    -- The agent that uploads for all, 16 hexadecimal digits.
    uploader TEXT NOT NULL,
    turn BIGINT NOT NULL,
    followed_ms BIGINT NOT NULL
);

CREATE TABLE timelines (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    parent BIGINT,
    -- The highest revision that it shares with its parent; with fork_at_most 1 only a bound of it.
    fork_revision BIGINT,
    fork_at_most BIGINT NOT NULL,
    -- 16 hexadecimal digits.
    source_cluster_id TEXT NOT NULL,
    etcd_version TEXT NOT NULL,
    first_seen_ms BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline)
);

CREATE TABLE bases (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    compact_revision BIGINT NOT NULL,
    -- Of the manifest.
    bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    finished_ms BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    plain_bytes BIGINT NOT NULL,
    -- Of all chunks, those that other bases share too.
    chunk_bytes BIGINT NOT NULL,
    chunks BIGINT NOT NULL,
    etcd_version TEXT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision, uid)
);

CREATE TABLE segments (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    level BIGINT NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    -- What its index says; absent where that is damaged.
    rows BIGINT,
    plain_bytes BIGINT,
    first_ms BIGINT,
    last_ms BIGINT,
    -- Bounds of the keys in it; min_key may be cut, and max_key is absent where it is too long.
    min_key BYTEA,
    max_key BYTEA,
    -- When its revisions were seen: see vault/src/catalog/marks.rs.
    marks BYTEA,
    PRIMARY KEY (cluster_id, timeline, first, last, level, uid)
);

CREATE TABLE gaps (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    uid TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    -- 1: what segments hold of it is not what the source had.
    distrusted BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, first, last, uid)
);

-- HashKV as the source reported it, in bases and segments.
CREATE TABLE checkpoints (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    compact_revision BIGINT NOT NULL,
    hash BIGINT NOT NULL,
    -- The base or segment that says so.
    uid TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision, uid, compact_revision, hash)
);

-- By a time, all revisions up to one were there. Both go up together within a timeline.
CREATE TABLE time_marks (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    unix_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision)
);
CREATE INDEX time_marks_by_time ON time_marks (cluster_id, timeline, unix_ms);

-- Runs of revisions that segments hold without a hole.
CREATE TABLE runs (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, first)
);

-- What can be restored: closed ranges, neither overlapping nor touching.
CREATE TABLE ranges (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, first)
);

-- What cannot, and why: 'thinned' by retention, 'lost' as an agent recorded, 'missing' without a word.
CREATE TABLE holes (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    reason TEXT,
    PRIMARY KEY (cluster_id, timeline, first)
);

-- What retention deleted: ranges of segments, and the revisions of bases.
CREATE TABLE deleted (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    first BIGINT NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, kind, first)
);

CREATE TABLE pins (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    timeline BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    reason TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, name)
);

-- Rounds of retention, and when the store took each step.
CREATE TABLE retention_runs (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    round BIGINT NOT NULL,
    marked_ms BIGINT NOT NULL,
    verdict_ms BIGINT,
    sweep_ms BIGINT,
    swept_ms BIGINT,
    taken_back BIGINT NOT NULL,
    -- What it deletes as soon as that is decided, before that what it may delete.
    bases BIGINT NOT NULL,
    segments BIGINT NOT NULL,
    chunks BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, round)
);

-- What was verified and proven, by the receipts in the vault that say so.
CREATE TABLE verifications (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name TEXT COLLATE "C" NOT NULL,
    -- 'verification' or 'drill'.
    kind TEXT COLLATE "C" NOT NULL,
    timeline BIGINT,
    revision BIGINT,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    ok BIGINT NOT NULL,
    objects BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    detail TEXT NOT NULL,
    -- Of the receipt itself.
    receipt_bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, name)
);

-- Objects that are there and cannot be used.
CREATE TABLE damaged (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    -- Below the vault's prefix.
    name TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    reason TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    stored_ms BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, name)
);

-- Objects and bytes by kind, level of segments, and the day (UTC, since 1970) on which the store took them.
CREATE TABLE stored (
    cluster_id BIGINT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    kind TEXT COLLATE "C" NOT NULL,
    level BIGINT NOT NULL,
    day BIGINT NOT NULL,
    objects BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, kind, level, day)
);

-- Which service does which work now.
CREATE TABLE leases (
    job TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The scheduled moment, in seconds since 1970.
    slot BIGINT NOT NULL,
    holder TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    done BIGINT NOT NULL
);
