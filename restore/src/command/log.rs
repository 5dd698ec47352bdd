//! `revkeep log`.

use std::io::{self, Write};

use clap::Args;
use futures::TryStreamExt;
use revkeep_schemas::Revision;
use serde::Serialize;

use super::point::bound;
use super::selection::SelectionArguments;
use super::value::{What, encoded};
use super::{Output, past_vault, printed, signals};
use crate::error::{Kind, RestoreError};
use crate::past::{History, Told, going_around, printable};
use crate::plan::Target;
use crate::point::{Wanted, time, within};
use crate::report::size;
use crate::source::Source;

/// What `revkeep log` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep log /registry/pods/shop/web-0 --cluster prod
  revkeep log --prefix /registry/pods/shop/ --deletes --since '2h ago' --cluster prod
  revkeep log --prefix '' --since 120000 --until 120934 -w ndjson --cluster prod")]
pub(super) struct Arguments {
    #[command(flatten)]
    keys: SelectionArguments,
    #[command(flatten)]
    cluster: past_vault::ClusterArguments,
    /// Deletions alone
    #[arg(long)]
    deletes: bool,
    /// What came after this time, or this revision and later ones
    #[arg(long, value_name = "REV|TIME")]
    since: Option<String>,
    /// What had come by this time, or up to this revision
    #[arg(long, value_name = "REV|TIME")]
    until: Option<String>,
    /// With the values, in JSON
    #[arg(long)]
    values: bool,
}

#[derive(Serialize)]
struct Entry {
    revision: Revision,
    sub: i64,
    /// `put` or `delete`.
    event: &'static str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_text: Option<String>,
    seen: Option<String>,
    create_revision: i64,
    version: i64,
    lease: i64,
    value_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<What>,
}

impl Entry {
    fn of(told: &Told, values: bool) -> Self {
        let version = &told.version;
        let put = !version.is_deletion();
        Self {
            revision: version.at.main,
            sub: version.at.sub,
            event: if put { "put" } else { "delete" },
            key: encoded(&version.key),
            key_text: String::from_utf8(version.key.clone()).ok(),
            seen: told.seen.and_then(time),
            create_revision: version.create_revision,
            version: version.version,
            lease: version.lease,
            value_bytes: version.value.len(),
            value: (put && values).then(|| encoded(&version.value)),
            what: put.then(|| What::of(version)),
        }
    }
}

/// Tells every version of keys.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    let selection = arguments.keys.selection()?;
    let since = arguments.since.as_deref().map(bound).transpose()?;
    let until = arguments.until.as_deref().map(bound).transpose()?;
    let telling = async {
        let cluster = past_vault::open(vault, &arguments.cluster).await?;
        let source = Source::open(&cluster, arguments.cluster.timeline()).await?;
        let from = first(&source, since.as_ref()).await?;
        let to = last(&source, until.as_ref()).await?;
        let (history, stream) = going_around(&source, async |source| {
            let history = History::of(source, from, to);
            let stream = history.versions(source, &selection).await?;
            Ok((history, stream))
        })
        .await?;
        let mut stream = std::pin::pin!(stream);
        let mut out = Out::new(output);
        printed(out.begin(&history))?;
        while let Some(told) = stream.try_next().await? {
            let wanted = |told: &&Told| !arguments.deletes || told.version.is_deletion();
            for told in told.iter().filter(wanted) {
                let entry = Entry::of(told, arguments.values);
                if !out.entry(&entry, &told.version.key).map_err(closed)? {
                    return Ok(());
                }
            }
        }
        printed(out.end())
    };
    signals::unless_interrupted(telling).await
}

fn closed(error: io::Error) -> RestoreError {
    RestoreError::io("write the result")(error)
}

/// The first revision of a range: a revision itself, or the one after what had come by a time.
async fn first(source: &Source, since: Option<&Wanted>) -> Result<Revision, RestoreError> {
    let Some(since) = since else {
        return Ok(Revision::ZERO);
    };
    match (since, within(source, since).await) {
        (Wanted::Time(_), Ok(Target::Revision(seen))) => Ok(seen.next()),
        // Nothing had come by then.
        (Wanted::Time(_), Err(error)) if error.kind() == Kind::OutsideCoverage => {
            Ok(Revision::ZERO)
        }
        (_, Ok(target)) => Ok(revision(source, target)),
        (_, Err(error)) => Err(error),
    }
}

async fn last(source: &Source, until: Option<&Wanted>) -> Result<Revision, RestoreError> {
    match until {
        None => Ok(Revision::MAX),
        Some(until) => Ok(revision(source, within(source, until).await?)),
    }
}

fn revision(source: &Source, target: Target) -> Revision {
    match source.resolve(target) {
        Target::Revision(revision) => revision,
        Target::Latest => Revision::MAX,
    }
}

/// Entries as they come.
struct Out {
    output: Output,
    lines: usize,
}

impl Out {
    const fn new(output: Output) -> Self {
        Self { output, lines: 0 }
    }

    fn begin(&self, history: &History) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        match self.output {
            Output::Json => {
                let partly = serde_json::to_string(&history.partly_known)?;
                write!(stdout, "{{\"partly_known\":{partly},\"versions\":[")
            }
            Output::Ndjson | Output::Table | Output::Fields => {
                for (first, last) in &history.partly_known {
                    writeln!(
                        io::stderr().lock(),
                        "note: of revisions {first} to {last} the vault has only what was still there at {last}"
                    )?;
                }
                Ok(())
            }
        }
    }

    /// Says whether anybody still reads.
    fn entry(&mut self, entry: &Entry, key: &[u8]) -> io::Result<bool> {
        let mut stdout = io::stdout().lock();
        let before = if self.lines == 0 { "" } else { "," };
        self.lines += 1;
        let written = match self.output {
            Output::Json => write!(stdout, "{before}{}", serde_json::to_string(entry)?),
            Output::Ndjson => writeln!(stdout, "{}", serde_json::to_string(entry)?),
            Output::Table | Output::Fields => {
                let seen = entry
                    .seen
                    .as_deref()
                    .map_or_else(String::new, |seen| format!("≈ {seen}"));
                let key = printable(key);
                write!(
                    stdout,
                    "{:>10} {seen:<26} {:<6} {key}",
                    entry.revision, entry.event
                )
                .and_then(|()| match &entry.what {
                    Some(what) => writeln!(
                        stdout,
                        "  version {}, {}, {what}",
                        entry.version,
                        size(entry.value_bytes as u64)
                    ),
                    None => writeln!(stdout),
                })
            }
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true),
        }
    }

    fn end(&self) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.output == Output::Json {
            writeln!(stdout, "]}}")?;
        }
        stdout.flush()
    }
}
