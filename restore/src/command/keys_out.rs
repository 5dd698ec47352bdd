//! `revkeep restore --ndjson` and `--files`: the keys of a revision for scripts and for looking at.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::value::{What, encoded};
use super::{Output, answer, printed, signals};
use crate::error::RestoreError;
use crate::past::{Selection, Version, View, going_around};
use crate::point::{Point, Wanted, describe, find};
use crate::report::size;
use crate::source::open_cluster;
use crate::target::{Staging, path_of, refuse_unless_free};
use crate::timelines::notes_on;

/// Whether a signal has come.
type Cancelled = tokio::sync::watch::Receiver<bool>;

/// What to do where there are more keys than can be held.
const TOO_MUCH: &str = "a longer --prefix, or a restore of the whole cluster: --data-dir DIR";

/// The file that lists the others; no key has this path.
const LISTING: &str = "%keys.ndjson";

/// Where the keys go.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// One object a line, into a file or to standard output.
    Ndjson(Option<PathBuf>),
    /// One file a key.
    Files(PathBuf),
}

#[derive(Serialize)]
struct Line<'a> {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_text: Option<&'a str>,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    lease: i64,
    what: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
}

impl<'a> Line<'a> {
    fn of(version: &'a Version) -> Self {
        Self {
            key: encoded(&version.key),
            key_text: std::str::from_utf8(&version.key).ok(),
            create_revision: version.create_revision,
            mod_revision: version.at.main.0,
            version: version.version,
            lease: version.lease,
            what: What::of(version),
            value: None,
            file: None,
        }
    }
}

#[derive(Serialize)]
struct Report {
    cluster: String,
    timeline: String,
    #[serde(flatten)]
    point: Point,
    target: String,
    keys: usize,
    value_bytes: u64,
    notes: Vec<String>,
}

/// What is asked for.
pub(super) struct Wish<'a> {
    /// The vault's URL.
    pub(super) vault: &'a str,
    /// The cluster.
    pub(super) cluster: &'a str,
    /// The timeline, or the default.
    pub(super) timeline: Option<&'a str>,
    /// The point in history.
    pub(super) wanted: &'a Wanted,
    /// What the keys begin with.
    pub(super) prefix: &'a str,
    /// Where they go.
    pub(super) place: &'a Place,
    /// Whether it is only to be said how many there are.
    pub(super) dry_run: bool,
}

impl Place {
    fn refuse_unless_free(&self) -> Result<(), RestoreError> {
        match self {
            Self::Ndjson(None) => Ok(()),
            Self::Ndjson(Some(path)) => refuse_unless_free(path, false),
            Self::Files(path) => refuse_unless_free(path, true),
        }
    }
}

/// Writes the keys under a prefix.
pub(super) async fn run(wish: Wish<'_>, output: Output) -> Result<(), RestoreError> {
    // Before anything is fetched; looked at again when the result is placed.
    wish.place.refuse_unless_free()?;
    let mut cancelled = signals::cancellation();
    let (report, keys) = tokio::select! {
        found = Box::pin(find_keys(&wish)) => found?,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
            return Err(crate::replay::interrupted());
        }
    };
    if wish.dry_run {
        return answer(&report, output);
    }
    match wish.place {
        Place::Ndjson(None) => {
            for note in &report.notes {
                printed(writeln!(io::stderr().lock(), "note: {note}"))?;
            }
            // The keys are the answer.
            let mut stdout = BufWriter::new(io::stdout().lock());
            return written(
                write_lines(&keys, &mut stdout, &cancelled),
                &cancelled,
                printed,
            );
        }
        Place::Ndjson(Some(path)) => ndjson_file(&keys, path, &cancelled)?,
        Place::Files(path) => files(&keys, path, &cancelled)?,
    }
    answer(&report, output)
}

async fn find_keys(wish: &Wish<'_>) -> Result<(Report, Vec<Version>), RestoreError> {
    let cluster = open_cluster(wish.vault, wish.cluster).await?;
    let (found, doubt) = find(&cluster, wish.timeline, wish.wanted).await?;
    if let Some(doubt) = doubt.as_ref().filter(|_| !wish.dry_run) {
        doubt.refuse()?;
    }
    let selection = Selection::Prefix(wish.prefix.as_bytes().to_vec());
    let (revision, keys) = going_around(&found.source, async |source| {
        let view = View::at(source, found.target)?.advising(TOO_MUCH);
        Ok((view.revision(), view.get(&selection, !wish.dry_run).await?))
    })
    .await?;
    let target = match wish.place {
        Place::Ndjson(None) => "-".to_owned(),
        Place::Ndjson(Some(path)) | Place::Files(path) => path.display().to_string(),
    };
    let notes = notes_on(&found.source, doubt.as_ref());
    let report = Report {
        cluster: cluster.name().to_string(),
        timeline: found.source.timeline.id().to_string(),
        point: describe(&found.source, revision).await,
        target,
        keys: keys.len(),
        value_bytes: keys.iter().map(|version| version.value.len() as u64).sum(),
        notes: notes.await,
    };
    Ok((report, keys))
}

/// What came of writing: a signal's error is told as one.
fn written(
    result: io::Result<()>,
    cancelled: &Cancelled,
    otherwise: impl FnOnce(io::Result<()>) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::Interrupted && *cancelled.borrow() => {
            Err(crate::replay::interrupted())
        }
        result => otherwise(result),
    }
}

fn go_on(cancelled: &Cancelled) -> io::Result<()> {
    if *cancelled.borrow() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    Ok(())
}

fn write_lines(keys: &[Version], out: &mut impl Write, cancelled: &Cancelled) -> io::Result<()> {
    for version in keys {
        go_on(cancelled)?;
        let line = Line {
            value: Some(encoded(&version.value)),
            ..Line::of(version)
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn ndjson_file(keys: &[Version], path: &Path, cancelled: &Cancelled) -> Result<(), RestoreError> {
    let staging = Staging::for_file(path)?;
    let built = staging.path().join("keys.ndjson");
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(private(&built)?);
        write_lines(keys, &mut out, cancelled)?;
        out.get_ref().sync_all()
    };
    let failed = RestoreError::io(format!("write {}", built.display()));
    written(write(), cancelled, |result| result.map_err(failed))?;
    staging.commit_file(&built)
}

fn files(keys: &[Version], path: &Path, cancelled: &Cancelled) -> Result<(), RestoreError> {
    let staging = Staging::for_directory(path)?;
    let write = || -> io::Result<()> {
        let mut listing = BufWriter::new(private(&staging.path().join(LISTING))?);
        for version in keys {
            go_on(cancelled)?;
            let name = path_of(&version.key);
            let file = staging.path().join(&name);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            private(&file)?.write_all(&version.value)?;
            let line = Line {
                file: name.to_str().map(str::to_owned),
                ..Line::of(version)
            };
            serde_json::to_writer(&mut listing, &line)?;
            listing.write_all(b"\n")?;
        }
        listing.flush()
    };
    let failed = RestoreError::io(format!("write into {}", staging.path().display()));
    written(write(), cancelled, |result| result.map_err(failed))?;
    staging.commit_files(|| *cancelled.borrow())
}

/// A new file for its user alone: values are secrets until somebody says otherwise.
fn private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<17} {} (timeline {})",
            "cluster", self.cluster, self.timeline
        )?;
        write!(f, "{}", self.point)?;
        writeln!(
            f,
            "{:<17} {}, {} of values",
            "keys",
            self.keys,
            size(self.value_bytes)
        )?;
        for note in &self.notes {
            writeln!(f, "{:<17} {note}", "note")?;
        }
        writeln!(f, "{:<17} {}", "target", self.target)
    }
}
