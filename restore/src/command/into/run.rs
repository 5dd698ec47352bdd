//! Plans what is put back, and does it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use revkeep_schemas::Revision;
use revkeep_vault::TimelineId;

use super::super::value::encoded;
use super::super::{Output, answer, signals, steps};
use super::IntoArguments;
use super::report::{Beside, Report};
use crate::error::{Kind, RestoreError};
use crate::live::{
    Action, Applied, EndedLease, Header, LeasePolicy, Live, LivePlan, Options, PlanFile,
    Unfinished, apply, ended_leases, grant_leases, identity, read,
};
use crate::overlap::Overlaps;
use crate::past::{Selection, View, going_around};
use crate::plan::{History, Target};
use crate::point::{Point, Wanted, describe, find, pin_record};
use crate::prepare::{Request, prepare};
use crate::source::{Source, open_cluster, timeline_id};
use crate::timelines::notes_on;

/// What to do where there are more keys than can be held.
const TOO_MUCH: &str = "a longer --prefix, one part after the other";

/// What is put back.
#[derive(Debug)]
pub(in crate::command) struct From<'a> {
    /// The vault.
    pub(in crate::command) vault: &'a str,
    /// The cluster in it.
    pub(in crate::command) cluster: &'a str,
    /// The timeline; by default the newest.
    pub(in crate::command) timeline: Option<&'a str>,
    /// The point.
    pub(in crate::command) wanted: &'a Wanted,
    /// The keys.
    pub(in crate::command) prefix: &'a str,
    /// What becomes of their leases.
    pub(in crate::command) leases: LeasePolicy,
    /// Whether nothing may be written, not even a plan file.
    pub(in crate::command) dry_run: bool,
}

/// A plan, and all that it takes to carry it out.
struct Ready {
    live: Live,
    header: Header,
    plan: LivePlan,
    file: Option<PlanFile>,
    ended: Vec<EndedLease>,
    point: Option<Point>,
    done_before: Option<usize>,
    notes: Vec<String>,
}

/// Plans, and acts if that is asked for.
pub(in crate::command) async fn run(
    from: From<'_>,
    arguments: &IntoArguments,
    output: Output,
) -> Result<(), RestoreError> {
    let mut cancelled = signals::cancellation();
    let ready = tokio::select! {
        ready = Box::pin(make_ready(&from, arguments)) => ready?,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
            return Err(RestoreError::new(Kind::Interrupted, "interrupted; nothing was changed"));
        }
    };
    let Ready {
        live,
        header,
        plan,
        mut file,
        ended,
        point,
        done_before,
        notes,
    } = ready;
    let beside = Beside {
        point,
        done_before,
        ended: ended.clone(),
        notes,
        next: command(&from, arguments, &header),
    };
    let mut report = Report::of(&header, &plan, beside);
    if !arguments.apply {
        return answer(&report, output);
    }
    let started = Instant::now();
    let mut granted = 0;
    let granting = tokio::select! {
        granting = grant_leases(&live, &ended, &mut granted) => granting,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
            Err(RestoreError::new(Kind::Interrupted, "interrupted; no key was changed"))
        }
    };
    let done = if let Err(error) = granting {
        Err(Box::new(Unfinished {
            applied: Applied::default(),
            failed: Vec::new(),
            error,
        }))
    } else {
        let note = |done: &[_]| match &mut file {
            Some(file) => file.done(done),
            None => Ok(()),
        };
        apply(&live, &plan.steps, &cancelled, note).await
    };
    let (applied, failed, error) = match done {
        Ok(applied) => (applied, Vec::new(), None),
        Err(unfinished) => (
            unfinished.applied,
            unfinished.failed,
            Some(unfinished.error),
        ),
    };
    let seconds = started.elapsed().as_secs_f64();
    report.done(&applied, &failed, granted, seconds, error.is_none());
    answer(&report, output)?;
    if let Some(error) = error {
        return Err(error);
    }
    let conflicts = applied.conflicts.len();
    if conflicts > 0 {
        return Err(RestoreError::new(
            Kind::Refused,
            format!(
                "{conflicts} keys were changed by others since the plan was made, and are left as they are. Try: a new plan, to \
                 look at them: {}",
                plan_command(&from, arguments, &header)
            ),
        ));
    }
    Ok(())
}

async fn make_ready(from: &From<'_>, arguments: &IntoArguments) -> Result<Ready, RestoreError> {
    let connection = arguments.connection()?;
    let path = arguments.plan_file.as_deref().filter(|_| !from.dry_run);
    match path {
        Some(path) if arguments.apply => {
            if !path.exists() {
                return Err(RestoreError::new(
                    Kind::Invalid,
                    format!(
                        "there is no plan {} to carry out. Try: the same command without --apply, which makes it",
                        path.display()
                    ),
                ));
            }
            let (file, header, plan, done) = PlanFile::open(path)?;
            refuse_another(&header, from, arguments).await?;
            let live = Live::connect(&connection).await?;
            refuse_another_cluster(&live, &header, from, path).await?;
            Ok(Ready {
                ended: ended_leases(&live, &plan, &header.granted).await?,
                live,
                header,
                plan,
                file: Some(file),
                point: None,
                done_before: Some(done),
                notes: Vec::new(),
            })
        }
        path => {
            if let Some(path) = path {
                PlanFile::refuse_unless_free(path)?;
            }
            let live = Live::connect(&connection).await?;
            let mut ready = decide(from, arguments, live).await?;
            let file = path.map(|path| PlanFile::create(path, &ready.header, &ready.plan));
            ready.file = file.transpose()?;
            Ok(ready)
        }
    }
}

async fn decide(
    from: &From<'_>,
    arguments: &IntoArguments,
    live: Live,
) -> Result<Ready, RestoreError> {
    let cluster = open_cluster(from.vault, from.cluster).await?;
    let (found, doubt) = find(&cluster, from.timeline, from.wanted).await?;
    if let Some(doubt) = doubt.as_ref().filter(|_| arguments.apply) {
        doubt.refuse()?;
    }
    let selection = Selection::Prefix(from.prefix.as_bytes().to_vec());
    let (revision, was) = going_around(&found.source, async |source| {
        let view = View::at(source, found.target)?.advising(TOO_MUCH);
        Ok((view.revision(), view.get(&selection, true).await?))
    })
    .await?;
    let is = read(&live, from.prefix.as_bytes()).await?;
    let options = Options {
        delete_extra: arguments.delete_extra,
        leases: from.leases,
    };
    let live_cluster_id = is.cluster_id;
    let plan = LivePlan::decide(was, is, options);
    let header = Header {
        cluster: cluster.name().to_string(),
        timeline: found.source.timeline.id().to_string(),
        revision: revision.0,
        prefix: encoded(from.prefix.as_bytes()),
        delete_extra: arguments.delete_extra,
        leases: from.leases,
        live_cluster_id,
        live_revision: plan.live_revision,
        unchanged: plan.unchanged,
        granted: granted(&found.source, revision, &plan).await?,
        ..Header::default()
    };
    Ok(Ready {
        ended: ended_leases(&live, &plan, &header.granted).await?,
        live,
        header,
        plan,
        file: None,
        point: Some(describe(&found.source, revision).await),
        done_before: None,
        notes: notes_on(&found.source, doubt.as_ref()).await,
    })
}

/// The granted seconds of the leases that the plan needs.
async fn granted(
    source: &Source,
    revision: Revision,
    plan: &LivePlan,
) -> Result<BTreeMap<i64, i64>, RestoreError> {
    let lease = |action: &Action| match action {
        Action::Put(wish) => wish.lease,
        Action::Delete => 0,
    };
    let needs = |id: &i64| plan.steps.iter().any(|step| lease(&step.action) == *id);
    if plan.steps.iter().all(|step| lease(&step.action) == 0) {
        return Ok(BTreeMap::new());
    }
    let request = Request {
        target: Target::Revision(revision),
        history: History::AsSource,
        overlaps: Overlaps::Small,
    };
    let mut granted = prepare(source, request).await?.granted;
    granted.retain(|id, _| needs(id));
    Ok(granted)
}

/// Refuses a plan of something else than what is asked for. A time is not looked up again: the plan says what it came to.
async fn refuse_another(
    header: &Header,
    from: &From<'_>,
    arguments: &IntoArguments,
) -> Result<(), RestoreError> {
    let (mut timeline, mut revision) = (from.timeline.map(timeline_id).transpose()?, None);
    match from.wanted {
        Wanted::Revision(wanted) => revision = Some(*wanted),
        Wanted::Pin(name) => {
            let pin = pin_record(&open_cluster(from.vault, from.cluster).await?, name).await?;
            timeline = timeline.or(Some(pin.timeline));
            revision = Some(pin.revision);
        }
        Wanted::Latest | Wanted::Time(_) | Wanted::BeforeDelete { .. } => {}
    }
    let another_timeline = |asked: TimelineId| asked.to_string() != header.timeline;
    let differences = [
        ("cluster", from.cluster != header.cluster),
        ("prefix", encoded(from.prefix.as_bytes()) != header.prefix),
        (
            "choice of --delete-extra",
            arguments.delete_extra != header.delete_extra,
        ),
        ("choice of --leases", from.leases != header.leases),
        ("timeline", timeline.is_some_and(another_timeline)),
        (
            "revision",
            revision.is_some_and(|asked| asked.0 != header.revision),
        ),
    ];
    let differences = differences.iter().filter(|(_, differs)| *differs);
    let differences: Vec<_> = differences.map(|(what, _)| *what).collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(RestoreError::new(
        Kind::Invalid,
        format!(
            "the plan file is of another {}: it puts back revision {} of timeline {} of {}. Try: the flags that it was made with, or a \
             new plan in another file",
            differences.join(" and "),
            header.revision,
            header.timeline,
            header.cluster
        ),
    ))
}

async fn refuse_another_cluster(
    live: &Live,
    header: &Header,
    from: &From<'_>,
    path: &Path,
) -> Result<(), RestoreError> {
    let answering = identity(live, from.prefix.as_bytes()).await?;
    if answering == header.live_cluster_id {
        return Ok(());
    }
    Err(RestoreError::new(
        Kind::Refused,
        format!(
            "{} was made for the live cluster {:x}, and {answering:x} answers: its revisions are others. Try: the endpoints that it was \
             made with, or a new plan in another file",
            path.display(),
            header.live_cluster_id
        ),
    ))
}

/// The command that carries out this very plan.
fn command(from: &From<'_>, arguments: &IntoArguments, header: &Header) -> String {
    let mut words = words(from, arguments, header);
    if let Some(path) = arguments.plan_file.as_ref().filter(|_| !from.dry_run) {
        words.extend(["--plan-file".to_owned(), path.display().to_string()]);
    }
    words.push("--apply".to_owned());
    steps::line(&words)
}

/// The command that makes a new plan of the same.
fn plan_command(from: &From<'_>, arguments: &IntoArguments, header: &Header) -> String {
    steps::line(&words(from, arguments, header))
}

fn words(from: &From<'_>, arguments: &IntoArguments, header: &Header) -> Vec<String> {
    let revision = header.revision.to_string();
    let beginning = [
        "revkeep",
        "restore",
        from.cluster,
        "--vault",
        from.vault,
        "--timeline",
        &header.timeline,
        "--to-revision",
        &revision,
        "--prefix",
        from.prefix,
    ];
    let mut words: Vec<_> = beginning.map(str::to_owned).into();
    words.extend(arguments.words());
    if header.leases == LeasePolicy::Drop {
        words.extend(["--leases", "detach"].map(str::to_owned));
    }
    words
}
