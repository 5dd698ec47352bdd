//! `revkeep restore --into`: keys of a live cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use revkeep_schemas::Revision;
use serde::Serialize;

use super::value::encoded;
use super::{Output, answer, signals};
use crate::error::{Kind, RestoreError};
use crate::live::{
    Action, Applied, Connection, Header, LeasePolicy, Live, LivePlan, Options, PlanFile, apply,
    ensure_leases, read,
};
use crate::overlap::Overlaps;
use crate::past::{Selection, View, going_around, printable};
use crate::plan::{History, Target};
use crate::point::{Point, Wanted, describe, resolve};
use crate::prepare::{Request, prepare};
use crate::report::size;
use crate::source::{Source, open_cluster};

/// Keys that are named for eyes.
const SHOWN_KEYS: usize = 20;

/// Where a live cluster is, and what becomes of it.
#[derive(Debug, Args)]
#[command(
    next_help_heading = "Into a live cluster (connection flags and ETCDCTL_* variables as etcdctl's)"
)]
pub(super) struct IntoArguments {
    /// Put the keys under --prefix of this live cluster back: prints the plan, and acts with --apply
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ENDPOINTS",
        requires = "prefix"
    )]
    pub(super) into: Vec<String>,
    /// Do what the plan says
    #[arg(long)]
    apply: bool,
    /// Delete keys under the prefix that were not there at that revision
    #[arg(long)]
    delete_extra: bool,
    /// Write the plan into this file; with --apply, carry out the plan in it, from where it was left
    #[arg(long, value_name = "FILE")]
    plan_file: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCDCTL_CACERT",
        value_name = "FILE",
        help = "The authority that signed the servers' certificates"
    )]
    cacert: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCDCTL_CERT",
        value_name = "FILE",
        help = "The client's certificate"
    )]
    cert: Option<PathBuf>,
    #[arg(
        long,
        env = "ETCDCTL_KEY",
        value_name = "FILE",
        help = "The client's private key"
    )]
    key: Option<PathBuf>,
    /// The user, or the user and the password after a colon
    #[arg(
        long,
        env = "ETCDCTL_USER",
        hide_env_values = true,
        value_name = "NAME[:PASSWORD]"
    )]
    user: Option<String>,
    /// The password, if it does not stand in --user
    #[arg(long, env = "ETCDCTL_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// How long a connect may take
    #[arg(long, env = "ETCDCTL_DIAL_TIMEOUT", value_parser = humantime::parse_duration, default_value = "2s")]
    dial_timeout: Duration,
    /// How long a request may take
    #[arg(long, env = "ETCDCTL_COMMAND_TIMEOUT", value_parser = humantime::parse_duration, default_value = "5s")]
    command_timeout: Duration,
}

impl IntoArguments {
    /// Whether a flag was given that makes no sense for other targets.
    pub(super) const fn acts(&self) -> bool {
        self.apply || self.delete_extra || self.plan_file.is_some()
    }

    fn connection(&self) -> Result<Connection, RestoreError> {
        let user = match (&self.user, &self.password) {
            (None, _) => None,
            (Some(name), Some(password)) => Some((name.clone(), password.clone())),
            (Some(both), None) => {
                let (name, password) = both.split_once(':').ok_or_else(|| {
                    RestoreError::new(
                        Kind::Invalid,
                        "--user has no password: write name:password, or give --password",
                    )
                })?;
                Some((name.to_owned(), password.to_owned()))
            }
        };
        Ok(Connection {
            endpoints: self.into.clone(),
            cacert: self.cacert.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            user,
            dial_timeout: self.dial_timeout,
            command_timeout: self.command_timeout,
        })
    }
}

/// What is put back.
#[derive(Debug)]
pub(super) struct From<'a> {
    /// The vault.
    pub(super) vault: &'a str,
    /// The cluster in it.
    pub(super) cluster: &'a str,
    /// The timeline; by default the newest.
    pub(super) timeline: Option<&'a str>,
    /// The point.
    pub(super) wanted: &'a Wanted,
    /// The keys.
    pub(super) prefix: &'a str,
    /// What becomes of their leases.
    pub(super) leases: LeasePolicy,
}

#[derive(Serialize)]
struct Report {
    cluster: String,
    timeline: String,
    prefix: String,
    revision: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<Point>,
    live_revision: i64,
    put: usize,
    delete: usize,
    value_bytes: u64,
    unchanged: usize,
    extra: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    done_before: Option<usize>,
    steps: Vec<StepLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied: Option<AppliedLine>,
    #[serde(skip)]
    extra_shown: Vec<String>,
}

#[derive(Serialize)]
struct StepLine {
    action: String,
    key: String,
    seen_mod_revision: i64,
    #[serde(skip)]
    shown_key: String,
}

#[derive(Serialize)]
struct AppliedLine {
    put: usize,
    deleted: usize,
    already: usize,
    revision: i64,
    leases_granted: usize,
    conflicts: Vec<ConflictLine>,
    seconds: f64,
}

#[derive(Serialize)]
struct ConflictLine {
    key: String,
    planned_mod_revision: i64,
    found_mod_revision: i64,
    #[serde(skip)]
    shown_key: String,
}

impl AppliedLine {
    fn of(applied: &Applied, leases: usize, seconds: f64) -> Self {
        let conflicts = applied.conflicts.iter().map(|conflict| ConflictLine {
            key: encoded(&conflict.key),
            planned_mod_revision: conflict.planned,
            found_mod_revision: conflict.found,
            shown_key: printable(&conflict.key),
        });
        Self {
            put: applied.put,
            deleted: applied.deleted,
            already: applied.already,
            revision: applied.revision,
            leases_granted: leases,
            conflicts: conflicts.collect(),
            seconds,
        }
    }
}

/// Plans, and acts if that is asked for.
pub(super) async fn run(
    from: From<'_>,
    arguments: &IntoArguments,
    output: Output,
) -> Result<(), RestoreError> {
    let cancelled = signals::cancellation();
    let connection = arguments.connection()?;
    let carried_on = arguments.apply
        && arguments
            .plan_file
            .as_ref()
            .is_some_and(|path| path.exists());
    let (mut file, header, plan, point, done_before) = match &arguments.plan_file {
        Some(path) if carried_on => {
            let (file, header, plan, done) = PlanFile::open(path)?;
            refuse_another(&header, &from, arguments)?;
            (Some(file), header, plan, None, Some(done))
        }
        path => {
            let live = Live::connect(&connection).await?;
            let (header, plan, point) = decide(&from, arguments, &live).await?;
            let file = path
                .as_deref()
                .map(|path| PlanFile::create(path, &header, &plan));
            (file.transpose()?, header, plan, Some(point), None)
        }
    };
    let mut report = report(&header, &plan, point, done_before);
    if arguments.apply {
        let live = Live::connect(&connection).await?;
        let started = std::time::Instant::now();
        let leases = ensure_leases(&live, &plan, &header.granted).await?;
        let applied = apply(&live, &plan.steps, &cancelled, |done| match &mut file {
            Some(file) => file.done(done),
            None => Ok(()),
        })
        .await?;
        let seconds = started.elapsed().as_secs_f64();
        report.applied = Some(AppliedLine::of(&applied, leases.len(), seconds));
    }
    answer(&report, output)?;
    let conflicts = report.applied.map_or(0, |applied| applied.conflicts.len());
    if conflicts > 0 {
        return Err(RestoreError::new(
            Kind::Refused,
            format!(
                "{conflicts} keys were changed by others since the plan was made, and are left as they are. Try: the same command \
                 again, with a new plan, to look at them"
            ),
        ));
    }
    Ok(())
}

async fn decide(
    from: &From<'_>,
    arguments: &IntoArguments,
    live: &Live,
) -> Result<(Header, LivePlan, Point), RestoreError> {
    let cluster = open_cluster(from.vault, from.cluster).await?;
    let found = resolve(&cluster, from.timeline, from.wanted).await?;
    let selection = Selection::Prefix(from.prefix.as_bytes().to_vec());
    let (revision, was) = going_around(&found.source, async |source| {
        let view = View::at(source, found.target)?;
        Ok((view.revision(), view.get(&selection, true).await?))
    })
    .await?;
    let is = read(live, from.prefix.as_bytes()).await?;
    let options = Options {
        delete_extra: arguments.delete_extra,
        leases: from.leases,
    };
    let plan = LivePlan::decide(was, is, options);
    let header = Header {
        cluster: cluster.name().to_string(),
        timeline: found.source.timeline.id().to_string(),
        revision: revision.0,
        prefix: encoded(from.prefix.as_bytes()),
        delete_extra: arguments.delete_extra,
        leases: from.leases,
        live_revision: plan.live_revision,
        unchanged: plan.unchanged,
        granted: granted(&found.source, revision, &plan).await?,
        ..Header::default()
    };
    let point = describe(&found.source, revision).await;
    Ok((header, plan, point))
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

fn refuse_another(
    header: &Header,
    from: &From<'_>,
    arguments: &IntoArguments,
) -> Result<(), RestoreError> {
    let asked = (
        from.cluster,
        encoded(from.prefix.as_bytes()),
        arguments.delete_extra,
        from.leases,
    );
    let planned = (
        header.cluster.as_str(),
        header.prefix.clone(),
        header.delete_extra,
        header.leases,
    );
    if asked == planned {
        return Ok(());
    }
    Err(RestoreError::new(
        Kind::Invalid,
        "the plan file is of another cluster, prefix, or choice of --delete-extra or --leases. Try: the flags that it was made with",
    ))
}

fn report(
    header: &Header,
    plan: &LivePlan,
    point: Option<Point>,
    done_before: Option<usize>,
) -> Report {
    let (put, delete) = plan.counts();
    let steps = plan.steps.iter().map(|step| StepLine {
        action: step.action.to_string(),
        key: encoded(&step.key),
        seen_mod_revision: step.seen,
        shown_key: printable(&step.key),
    });
    Report {
        cluster: header.cluster.clone(),
        timeline: header.timeline.clone(),
        prefix: header.prefix.clone(),
        revision: header.revision,
        point,
        live_revision: plan.live_revision,
        put,
        delete,
        value_bytes: plan.value_bytes(),
        unchanged: plan.unchanged,
        extra: plan.extra.len(),
        done_before,
        steps: steps.collect(),
        applied: None,
        extra_shown: plan
            .extra
            .iter()
            .take(SHOWN_KEYS)
            .map(|key| printable(key))
            .collect(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = |f: &mut fmt::Formatter<'_>, all: usize| match all.saturating_sub(SHOWN_KEYS) {
            0 => Ok(()),
            more => writeln!(f, "  … and {more} more, which -w json lists"),
        };
        writeln!(
            f,
            "{:<17} {} (timeline {})",
            "cluster", self.cluster, self.timeline
        )?;
        match &self.point {
            Some(point) => write!(f, "{point}")?,
            None => writeln!(f, "{:<17} {}", "revision", self.revision)?,
        }
        writeln!(f, "{:<17} {}", "live revision", self.live_revision)?;
        for step in self.steps.iter().take(SHOWN_KEYS) {
            writeln!(f, "  {:<6} {}", step.action, step.shown_key)?;
        }
        more(f, self.steps.len())?;
        for key in &self.extra_shown {
            writeln!(f, "  leave  {key}")?;
        }
        more(f, self.extra)?;
        writeln!(
            f,
            "{:<17} {} to put ({}), {} to delete, {} unchanged, {} that were not there and stay",
            "plan",
            self.put,
            size(self.value_bytes),
            self.delete,
            self.unchanged,
            self.extra
        )?;
        if let Some(done) = self.done_before {
            writeln!(f, "{:<17} {done} keys", "done before")?;
        }
        let Some(applied) = &self.applied else {
            return writeln!(f, "{:<17} nothing was changed: add --apply", "next");
        };
        for conflict in &applied.conflicts {
            writeln!(
                f,
                "  conflict {}: it was at {}, and is at {} now",
                conflict.shown_key, conflict.planned_mod_revision, conflict.found_mod_revision
            )?;
        }
        writeln!(
            f,
            "{:<17} {} put, {} deleted, {} already so, {} conflicts, {} leases granted, in {:.2} s",
            "applied",
            applied.put,
            applied.deleted,
            applied.already,
            applied.conflicts.len(),
            applied.leases_granted,
            applied.seconds
        )
    }
}
