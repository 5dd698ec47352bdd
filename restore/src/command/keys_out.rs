//! `revkeep restore --ndjson` and `--files`: the keys of a revision for scripts and for looking at.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::value::{What, encoded};
use super::{Output, answer, printed};
use crate::error::RestoreError;
use crate::past::{Selection, Version, View, going_around};
use crate::point::{Point, Resolved, describe};
use crate::report::size;
use crate::target::{Staging, path_of};

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
}

/// Writes the keys under a prefix.
pub(super) async fn run(
    found: &Resolved,
    prefix: &str,
    place: &Place,
    dry_run: bool,
    output: Output,
) -> Result<(), RestoreError> {
    let selection = Selection::Prefix(prefix.as_bytes().to_vec());
    let (revision, keys) = going_around(&found.source, async |source| {
        let view = View::at(source, found.target)?;
        Ok((view.revision(), view.get(&selection, !dry_run).await?))
    })
    .await?;
    let target = match place {
        Place::Ndjson(None) => "-".to_owned(),
        Place::Ndjson(Some(path)) | Place::Files(path) => path.display().to_string(),
    };
    let report = Report {
        cluster: found.source.timeline.cluster().name().to_string(),
        timeline: found.source.timeline.id().to_string(),
        point: describe(&found.source, revision).await,
        target,
        keys: keys.len(),
        value_bytes: keys.iter().map(|version| version.value.len() as u64).sum(),
    };
    if dry_run {
        return answer(&report, output);
    }
    match place {
        Place::Ndjson(None) => {
            // The keys are the answer.
            let mut stdout = BufWriter::new(io::stdout().lock());
            return printed(write_lines(&keys, &mut stdout));
        }
        Place::Ndjson(Some(path)) => ndjson_file(&keys, path)?,
        Place::Files(path) => files(&keys, path)?,
    }
    answer(&report, output)
}

fn write_lines(keys: &[Version], out: &mut impl Write) -> io::Result<()> {
    for version in keys {
        let line = Line {
            value: Some(encoded(&version.value)),
            ..Line::of(version)
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn ndjson_file(keys: &[Version], path: &Path) -> Result<(), RestoreError> {
    let staging = Staging::for_file(path)?;
    let built = staging.path().join("keys.ndjson");
    let write = || -> io::Result<()> {
        let mut out = BufWriter::new(private(&built)?);
        write_lines(keys, &mut out)?;
        out.get_ref().sync_all()
    };
    write().map_err(RestoreError::io(format!("write {}", built.display())))?;
    staging.commit_file(&built)
}

fn files(keys: &[Version], path: &Path) -> Result<(), RestoreError> {
    let staging = Staging::for_directory(path)?;
    let write = || -> io::Result<()> {
        let mut listing = BufWriter::new(private(&staging.path().join(LISTING))?);
        for version in keys {
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
    write().map_err(RestoreError::io(format!(
        "write into {}",
        staging.path().display()
    )))?;
    staging.commit_directory()
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
        writeln!(f, "{:<17} {}", "target", self.target)
    }
}
