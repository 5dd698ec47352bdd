//! `revkeep get`.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use serde::Serialize;

use super::point::at;
use super::selection::SelectionArguments;
use super::value::{What, encoded, shown};
use super::{Output, past_vault, printed, signals};
use crate::error::RestoreError;
use crate::past::{Version, View, going_around, open, printable};
use crate::point::{Seen, seen, time};

/// What to do where there are more keys than can be held.
const TOO_MUCH: &str = "a longer --prefix, or --keys-only, or a restore of the whole cluster";

/// What `revkeep get` takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  revkeep get /registry/pods/shop/web-0 --at 120934 --cluster prod
  revkeep get --prefix /registry/pods/shop/ --at '20m ago' --keys-only --cluster prod
  revkeep get greeting --at pin:before-upgrade --print-value-only --cluster prod > greeting")]
pub(super) struct Arguments {
    #[command(flatten)]
    keys: SelectionArguments,
    /// The revision, time, or pin:NAME to look at; by default the newest revision
    #[arg(long, value_name = "REV|TIME|pin:NAME", default_value = "latest")]
    at: String,
    #[command(flatten)]
    cluster: past_vault::ClusterArguments,
    /// The keys alone
    #[arg(long, conflicts_with = "print_value_only")]
    keys_only: bool,
    /// The values alone, as they are
    #[arg(long)]
    print_value_only: bool,
    /// No more than so many keys; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
}

#[derive(Serialize)]
struct Header<'a> {
    cluster: &'a str,
    timeline: String,
    revision: i64,
    seen: Option<String>,
    seen_until: Option<String>,
}

#[derive(Serialize)]
struct KeyValue {
    key: String,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    lease: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<What>,
}

#[derive(Serialize)]
struct Answer<'a> {
    header: &'a Header<'a>,
    kvs: Vec<KeyValue>,
    count: usize,
}

/// Gets keys as they were.
pub(super) async fn run(
    vault: &str,
    arguments: &Arguments,
    output: Output,
) -> Result<(), RestoreError> {
    signals::unless_interrupted(look_up(vault, arguments, output)).await
}

async fn look_up(vault: &str, arguments: &Arguments, output: Output) -> Result<(), RestoreError> {
    let selection = arguments.keys.selection()?;
    let wanted = at(&arguments.at)?;
    let cluster = past_vault::open(vault, &arguments.cluster).await?;
    let resolved = open(&cluster, arguments.cluster.timeline(), &wanted).await?;
    let (revision, found) = going_around(&resolved.source, async |source| {
        let view = View::at(source, resolved.target)?.advising(TOO_MUCH);
        let found = view.get(&selection, !arguments.keys_only).await?;
        Ok((view.revision(), found))
    })
    .await?;
    // A help for eyes, not worth a failure.
    let Seen { from, until } = seen(&resolved.source, revision).await.unwrap_or_default();
    let name = cluster.name().to_string();
    let header = Header {
        cluster: &name,
        timeline: resolved.source.timeline.id().to_string(),
        revision: revision.0,
        seen: from.and_then(time),
        seen_until: until.and_then(time),
    };
    let (requests, bytes) = cluster.vault().traffic();
    tracing::debug!(requests, bytes, "read from the vault");
    printed(write(arguments, output, &header, &found))
}

fn write(
    arguments: &Arguments,
    output: Output,
    header: &Header<'_>,
    found: &[Version],
) -> io::Result<()> {
    let limit = if arguments.limit == 0 {
        usize::MAX
    } else {
        arguments.limit
    };
    let some = found.iter().take(limit);
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let json = |version: &Version| KeyValue {
        key: encoded(&version.key),
        create_revision: version.create_revision,
        mod_revision: version.at.main.0,
        version: version.version,
        value: (!arguments.keys_only).then(|| encoded(&version.value)),
        lease: version.lease,
        what: (!arguments.keys_only).then(|| What::of(version)),
    };
    match output {
        Output::Json => {
            let answer = Answer {
                header,
                kvs: some.map(json).collect(),
                count: found.len(),
            };
            writeln!(stdout, "{}", serde_json::to_string(&answer)?)?;
        }
        Output::Ndjson => {
            writeln!(
                stdout,
                "{}",
                serde_json::to_string(&serde_json::json!({ "header": header }))?
            )?;
            for version in some {
                writeln!(stdout, "{}", serde_json::to_string(&json(version))?)?;
            }
        }
        Output::Fields => {
            tell(header)?;
            for version in some {
                fields(&mut stdout, version, arguments.keys_only)?;
            }
        }
        Output::Table => {
            tell(header)?;
            let eyes = io::stdout().is_terminal();
            for version in some {
                if !arguments.print_value_only {
                    writeln!(stdout, "{}", printable(&version.key))?;
                }
                if arguments.keys_only {
                    continue;
                }
                if arguments.print_value_only && !eyes {
                    stdout.write_all(&version.value)?;
                    writeln!(stdout)?;
                } else {
                    writeln!(stdout, "{}", shown(version))?;
                }
            }
        }
    }
    stdout.flush()
}

/// Says which revision this is, beside the answer.
fn tell(header: &Header<'_>) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    write!(
        stderr,
        "revision {} (timeline {})",
        header.revision, header.timeline
    )?;
    if let Some(seen) = &header.seen {
        write!(stderr, ", seen ≈ {seen}")?;
    }
    if let Some(until) = &header.seen_until {
        write!(stderr, ", the newest until ≈ {until}")?;
    }
    writeln!(stderr)
}

fn fields(out: &mut impl Write, version: &Version, keys_only: bool) -> io::Result<()> {
    writeln!(out, "\"Key\" : \"{}\"", printable(&version.key))?;
    writeln!(out, "\"CreateRevision\" : {}", version.create_revision)?;
    writeln!(out, "\"ModRevision\" : {}", version.at.main)?;
    writeln!(out, "\"Version\" : {}", version.version)?;
    if !keys_only {
        writeln!(out, "\"Value\" : \"{}\"", printable(&version.value))?;
    }
    writeln!(out, "\"Lease\" : {}\n", version.lease)
}
