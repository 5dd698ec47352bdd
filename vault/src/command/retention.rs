//! `retention`: check, plan, apply, take-back.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use revkeep_vault::lock::{Lock, LockPlan};
use revkeep_vault::retention::{
    Decision, Policy, Progress, StoredBase, StoredSegment, Survey, plan,
};
use revkeep_vault::{ClusterName, ErrorKind, Vault, VaultError};
use serde_json::{Value, json};

use super::lock;
use super::output::{Output, bytes, error, line};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Say whether a policy file is right; the place and the word where it is not
    Check {
        /// The policy: TOML
        file: PathBuf,
    },
    /// Say for every base and range of segments whether it stays and why; deletes nothing
    Plan(Arguments),
    /// Lock what stays where the policy says so; then mark what it lets go, or delete what was marked once its grace has
    /// ended; run it on a schedule
    Apply(Arguments),
    /// Take back what was marked
    TakeBack {
        #[command(flatten)]
        vault: VaultUrl,
        /// The cluster
        cluster: ClusterName,
        /// The round, as `apply` named it
        round: u32,
    },
}

#[derive(Args)]
pub(super) struct VaultUrl {
    /// The vault
    #[arg(long, env = "REVKEEP_VAULT", value_name = "URL")]
    vault: String,
}

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    vault: VaultUrl,
    /// The policy: TOML; without one, all clusters have the default: every revision of 7 days, a base of 30 days and 12 months
    #[arg(long, env = "REVKEEP_POLICY", value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The clusters; all when none is named
    clusters: Vec<ClusterName>,
    /// How to answer
    #[arg(short = 'w', long = "write-out", value_enum, default_value_t)]
    output: Output,
}

/// Runs it; whether all went well.
pub(super) async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Check { file } => {
            Policy::read(&file)?;
            line(&format!("{}: ok", file.display()));
            Ok(true)
        }
        Command::Plan(arguments) => each(arguments, show_plan).await,
        Command::Apply(arguments) => each(arguments, apply).await,
        Command::TakeBack {
            vault,
            cluster,
            round,
        } => {
            let vault = Vault::open(&vault.vault).await?;
            vault.cluster(&cluster).take_back(round).await?;
            line(&format!(
                "round {round} of {cluster} is taken back: nothing of it is deleted"
            ));
            Ok(true)
        }
    }
}

/// Does it for each cluster; what goes wrong with one does not keep the others from it.
async fn each(
    arguments: Arguments,
    one: impl AsyncFn(&Vault, &ClusterName, &Policy, Output) -> Result<(), VaultError>,
) -> anyhow::Result<bool> {
    let policy = match &arguments.policy {
        Some(file) => Policy::read(file)?,
        None => Policy::default(),
    };
    let vault = Vault::open(&arguments.vault.vault).await?;
    let there = vault.clusters().await?;
    if let Some(absent) = arguments.clusters.iter().find(|name| !there.contains(name)) {
        return Err(VaultError::new(
            ErrorKind::NotFound,
            format!(
                "the vault has no cluster {absent}; it has: {}",
                list(&there)
            ),
        )
        .into());
    }
    let chosen = if arguments.clusters.is_empty() {
        there
    } else {
        arguments.clusters
    };
    let mut failed = None;
    for cluster in chosen {
        if let Err(wrong) = one(&vault, &cluster, &policy, arguments.output).await {
            error(&format!("{cluster}: {wrong}"));
            failed.get_or_insert(wrong);
        }
    }
    match failed {
        // Its kind is the exit code.
        Some(first) => {
            Err(VaultError::new(first.kind(), "not all clusters could be looked after").into())
        }
        None => Ok(true),
    }
}

fn list(names: &[ClusterName]) -> String {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    names.join(", ")
}

pub(super) fn when(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn why(decision: &Decision) -> String {
    let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
    if reasons.is_empty() {
        "goes".to_owned()
    } else {
        format!("stays: {}", reasons.join(", "))
    }
}

async fn show_plan(
    vault: &Vault,
    cluster: &ClusterName,
    policy: &Policy,
    output: Output,
) -> Result<(), VaultError> {
    let rules = policy.rules(cluster);
    // A plan alone asks nothing of the store that writes; its clock is asked when it is carried out.
    let survey = vault.cluster(cluster).survey_whole(Utc::now()).await?;
    let planned = plan(&survey.history, &rules, &policy.zone);
    let lock = match policy.lock(cluster) {
        Some(lock) => {
            let cluster = vault.cluster(cluster);
            Some((lock, cluster.plan_lock(&lock, &survey, &planned).await?))
        }
        None => None,
    };
    let timelines = survey.history.timelines.iter().zip(&planned.timelines);
    let held = held(&survey);
    if output == Output::Json {
        let timelines: Vec<Value> = timelines
            .map(|(timeline, plan)| {
                let object = |decision: &Decision| {
                    let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
                    json!({"name": decision.name, "bytes": decision.bytes, "stays": decision.stays(), "reasons": reasons})
                };
                json!({
                    "timeline": timeline.id,
                    "every_revision_from": plan.every_revision_from.map(|revision| revision.0),
                    "bases": plan.bases.iter().map(object).collect::<Vec<_>>(),
                    "segments": plan.segments.iter().map(object).collect::<Vec<_>>(),
                })
            })
            .collect();
        line(&json!({
            "cluster": cluster.as_str(), "bytes": held, "timelines": timelines, "unmet_pins": planned.unmet_pins,
            "lock": lock.as_ref().map(|(lock, plan)| lock::planned(lock, plan)),
            "damaged": survey.damaged.iter().map(|damage| &damage.name).collect::<Vec<_>>(),
        }).to_string());
        return complete(lock.as_ref());
    }
    line(&format!("{cluster}: {}", bytes(held)));
    for (timeline, plan) in timelines {
        match plan.every_revision_from {
            Some(from) => line(&format!(
                "  timeline {}: every revision from {from} on stays",
                timeline.id
            )),
            None => line(&format!("  timeline {}: single points stay", timeline.id)),
        }
        for (base, decision) in timeline.bases.iter().zip(&plan.bases) {
            line(&base_line(base, decision));
        }
        for run in runs(&timeline.segments, &plan.segments) {
            line(&run);
        }
    }
    if let Some((lock, plan)) = &lock {
        line(&format!("  {}", lock::planned_line(lock, plan)));
        lock::failures(cluster.as_str(), &plan.failed);
    }
    for pin in &planned.unmet_pins {
        line(&format!(
            "  pin {pin}: its revision cannot be brought back even now"
        ));
    }
    for damage in &survey.damaged {
        line(&format!(
            "  {} cannot be used, so nothing is deleted: {}",
            damage.name, damage.reason
        ));
    }
    if let Some(limit) = rules.warn_bytes
        && held > limit
    {
        line(&format!(
            "  more than {} is held: shorten the window or the counts if that is too much; nothing is deleted for it",
            bytes(limit)
        ));
    }
    complete(lock.as_ref())
}

fn complete(lock: Option<&(Lock, LockPlan)>) -> Result<(), VaultError> {
    lock.map_or(Ok(()), |(_, plan)| plan.complete())
}

/// All bytes of a cluster, a chunk that several bases share once.
fn held(survey: &Survey) -> u64 {
    let mut chunks = std::collections::HashMap::new();
    let mut sum = 0;
    for timeline in &survey.history.timelines {
        sum += timeline
            .segments
            .iter()
            .map(|segment| segment.bytes)
            .sum::<u64>();
        for base in &timeline.bases {
            sum += base.bytes;
            chunks.extend(base.chunks.iter().copied());
        }
    }
    sum + chunks.values().sum::<u64>()
}

fn base_line(base: &StoredBase, decision: &Decision) -> String {
    let listed: u64 = base.chunks.iter().map(|(_, bytes)| *bytes).sum();
    format!(
        "    base at {}, stored {}, {} with what it shares: {}",
        base.revision,
        when(base.stored),
        bytes(base.bytes + listed),
        why(decision)
    )
}

/// Segments in a row of which the same is said, each run a line.
fn runs(segments: &[StoredSegment], decisions: &[Decision]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut run: Option<(i64, i64, usize, u64, String)> = None;
    let mut close = |run: Option<(i64, i64, usize, u64, String)>| {
        if let Some((first, last, count, size, why)) = run {
            lines.push(format!(
                "    {count} segments, {first} to {last}, {}: {why}",
                bytes(size)
            ));
        }
    };
    for (segment, decision) in segments.iter().zip(decisions) {
        let said = why(decision);
        run = match run.take() {
            Some((first, last, count, size, why)) if why == said => Some((
                first,
                last.max(segment.last.0),
                count + 1,
                size + segment.bytes,
                why,
            )),
            before => {
                close(before);
                Some((segment.first.0, segment.last.0, 1, segment.bytes, said))
            }
        };
    }
    close(run);
    lines
}

async fn apply(
    vault: &Vault,
    cluster: &ClusterName,
    policy: &Policy,
    output: Output,
) -> Result<(), VaultError> {
    let rules = policy.rules(cluster);
    let locked_now = lock::apply(&vault.cluster(cluster), policy, output).await?;
    let mut refused = None;
    let progress = vault
        .cluster(cluster)
        .apply_retention(&rules, &policy.zone)
        .await?;
    let (told, text) = match progress {
        Progress::NothingToDelete => (json!({"did": "nothing"}), "everything stays".to_owned()),
        Progress::Marked {
            round,
            until,
            objects,
        } => (
            json!({"did": "marked", "round": round, "until": when(until), "objects": objects.objects(), "bytes": objects.bytes}),
            format!(
                "round {round}: {} objects, {}, are marked and deleted by the first run after {}; take them back by: \
                 revkeep-vault retention take-back {cluster} {round}",
                objects.objects(),
                bytes(objects.bytes),
                when(until)
            ),
        ),
        Progress::InGrace { round, until } => (
            json!({"did": "waits", "round": round, "until": when(until)}),
            format!(
                "round {round}: what is marked is deleted by the first run after {}",
                when(until)
            ),
        ),
        Progress::WaitsFor { round, bases } => (
            json!({"did": "waits", "round": round, "bases": bases}),
            format!(
                "round {round} waits for bases that are being written: {}",
                bases.join(", ")
            ),
        ),
        Progress::Swept {
            round,
            objects,
            deleted,
            left,
        } => {
            if !left.is_empty() {
                refused = Some(format!(
                    "the store refuses to delete {} objects; grant the right, or wait until they are not locked any more",
                    left.len()
                ));
            }
            for damage in &left {
                error(&format!(
                    "{cluster}: {} stays: {}",
                    damage.name, damage.reason
                ));
            }
            (
                json!({"did": "swept", "round": round, "objects": deleted, "bytes": objects.bytes,
                       "left": left.iter().map(|damage| &damage.name).collect::<Vec<_>>()}),
                format!(
                    "round {round}: {deleted} objects{} are deleted",
                    if left.is_empty() {
                        format!(", {},", bytes(objects.bytes))
                    } else {
                        format!(" of {}", objects.objects())
                    }
                ),
            )
        }
    };
    match output {
        Output::Json => {
            let mut told = told;
            if let Some(fields) = told.as_object_mut() {
                fields.insert("cluster".to_owned(), cluster.as_str().into());
                if let Some(locked) = locked_now {
                    fields.insert("locked".to_owned(), locked);
                }
            }
            line(&told.to_string());
        }
        Output::Simple => line(&format!("{cluster}: {text}")),
    }
    match refused {
        Some(refused) => Err(VaultError::new(ErrorKind::Refused, refused)),
        None => Ok(()),
    }
}
