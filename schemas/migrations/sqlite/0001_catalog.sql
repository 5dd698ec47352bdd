-- The catalog: an index of a vault. It can be rebuilt from the vault at any time, and nothing needs it to restore.
-- Revisions are etcd's; times are milliseconds since 1970: `stored_ms` by the object store's clock, all others by an agent's or a person's.

-- The vault that this is an index of; one row.
CREATE TABLE vault (
    id TEXT NOT NULL PRIMARY KEY
) STRICT;

-- A cluster, with a summary of its newest timeline.
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    -- Goes up with every change, so that a writer sees whether another was faster.
    version INTEGER NOT NULL,
    -- When it was looked at, and when all of its names were listed, by the clock of whoever did.
    synced_ms INTEGER,
    listed_ms INTEGER,
    -- Why it could not be looked at the last time.
    error TEXT,
    timeline INTEGER,
    minimum INTEGER,
    maximum INTEGER,
    maximum_seen_ms INTEGER,
    base_revision INTEGER,
    base_stored_ms INTEGER,
    segment_stored_ms INTEGER,
    -- Revisions between the minimum and the maximum that cannot be brought back, by why.
    lost INTEGER NOT NULL,
    thinned INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    -- The last restore that was proven.
    proven_revision INTEGER,
    proven_ms INTEGER
) STRICT;
CREATE INDEX clusters_by_bytes ON clusters (bytes);

-- Words for groups of clusters, as the policy file says.
CREATE TABLE labels (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    PRIMARY KEY (cluster_id, label)
) STRICT, WITHOUT ROWID;
CREATE INDEX labels_by_label ON labels (label);

-- Each cluster's head, as agents wrote it last.
CREATE TABLE heads (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE PRIMARY KEY,
    timeline INTEGER NOT NULL,
    base_revision INTEGER NOT NULL,
    durable_revision INTEGER NOT NULL,
    heartbeat_ms INTEGER NOT NULL,
    source_revision INTEGER NOT NULL,
    compact_revision INTEGER NOT NULL,
    -- The agent that uploads for all, 16 hexadecimal digits.
    uploader TEXT NOT NULL,
    turn INTEGER NOT NULL,
    followed_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE timelines (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    parent INTEGER,
    -- The highest revision that it shares with its parent; with fork_at_most 1 only a bound of it.
    fork_revision INTEGER,
    fork_at_most INTEGER NOT NULL,
    -- 16 hexadecimal digits.
    source_cluster_id TEXT NOT NULL,
    etcd_version TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline)
) STRICT, WITHOUT ROWID;

CREATE TABLE bases (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    uid TEXT NOT NULL,
    compact_revision INTEGER NOT NULL,
    -- Of the manifest.
    bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    finished_ms INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    plain_bytes INTEGER NOT NULL,
    -- Of all chunks, those that other bases share too.
    chunk_bytes INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    etcd_version TEXT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE segments (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    level INTEGER NOT NULL,
    uid TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    -- What its index says; absent where that is damaged.
    rows INTEGER,
    plain_bytes INTEGER,
    first_ms INTEGER,
    last_ms INTEGER,
    -- Bounds of the keys in it; min_key may be cut, and max_key is absent where it is too long.
    min_key BLOB,
    max_key BLOB,
    -- When its revisions were seen: see vault/src/catalog/marks.rs.
    marks BLOB,
    PRIMARY KEY (cluster_id, timeline, first, last, level, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE gaps (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    uid TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- 1: what segments hold of it is not what the source had.
    distrusted INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline, first, last, uid)
) STRICT, WITHOUT ROWID;

-- HashKV as the source reported it, in bases and segments.
CREATE TABLE checkpoints (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    compact_revision INTEGER NOT NULL,
    hash INTEGER NOT NULL,
    -- The base or segment that says so.
    uid TEXT NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision, uid, compact_revision, hash)
) STRICT, WITHOUT ROWID;

-- By a time, all revisions up to one were there. Both go up together within a timeline.
CREATE TABLE time_marks (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    unix_ms INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX time_marks_by_time ON time_marks (cluster_id, timeline, unix_ms);

-- Runs of revisions that segments hold without a hole.
CREATE TABLE runs (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline, first)
) STRICT, WITHOUT ROWID;

-- What can be restored: closed ranges, neither overlapping nor touching.
CREATE TABLE ranges (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline, first)
) STRICT, WITHOUT ROWID;

-- What cannot, and why: 'thinned' by retention, 'lost' as an agent recorded, 'missing' without a word.
CREATE TABLE holes (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT,
    PRIMARY KEY (cluster_id, timeline, first)
) STRICT, WITHOUT ROWID;

-- What retention deleted: ranges of segments, and the revisions of bases.
CREATE TABLE deleted (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    timeline INTEGER NOT NULL,
    kind TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, timeline, kind, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE pins (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    timeline INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    reason TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, name)
) STRICT, WITHOUT ROWID;

-- Rounds of retention, and when the store took each step.
CREATE TABLE retention_runs (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    round INTEGER NOT NULL,
    marked_ms INTEGER NOT NULL,
    verdict_ms INTEGER,
    sweep_ms INTEGER,
    swept_ms INTEGER,
    taken_back INTEGER NOT NULL,
    -- What it deletes as soon as that is decided, before that what it may delete.
    bases INTEGER NOT NULL,
    segments INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, round)
) STRICT, WITHOUT ROWID;

-- What was verified and proven, by the receipts in the vault that say so.
CREATE TABLE verifications (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    -- 'verification' or 'drill'.
    kind TEXT NOT NULL,
    timeline INTEGER,
    revision INTEGER,
    started_ms INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL,
    ok INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    detail TEXT NOT NULL,
    -- Of the receipt itself.
    receipt_bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, name)
) STRICT, WITHOUT ROWID;

-- Objects that are there and cannot be used.
CREATE TABLE damaged (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    -- Below the vault's prefix.
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    reason TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, name)
) STRICT, WITHOUT ROWID;

-- Objects and bytes by kind, level of segments, and the day (UTC, since 1970) on which the store took them.
CREATE TABLE stored (
    cluster_id INTEGER NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    level INTEGER NOT NULL,
    day INTEGER NOT NULL,
    objects INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, kind, level, day)
) STRICT, WITHOUT ROWID;

-- Which service does which work now.
CREATE TABLE leases (
    job TEXT NOT NULL PRIMARY KEY,
    -- The scheduled moment, in seconds since 1970.
    slot INTEGER NOT NULL,
    holder TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    done INTEGER NOT NULL
) STRICT;
