//! Runs groups side by side and the cases of a group one after the other.

use super::report::{Choice, Report};
use super::server::servers;
use super::{Body, Case, Group, Server};
use anyhow::{Context, Result, anyhow};
use revkeep_harness::EtcdVersion;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Cases mostly wait, for the disk and for time to pass, so there are more groups at once than processors.
const GROUPS_AT_ONCE: usize = 6;

/// A case that takes longer hangs.
const CASE_LIMIT: Duration = Duration::from_secs(120);

thread_local! {
    /// What the case on this thread said when it panicked.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Cases of one group that are chosen, for one server.
struct Work<'a> {
    version: EtcdVersion,
    group: &'a Group,
    cases: Vec<(String, Body)>,
}

/// Runs what the command line chooses, and reports every case.
pub(crate) fn run(groups: &[Group]) -> ExitCode {
    let choice = Choice::from_arguments(std::env::args().skip(1));
    let servers = match servers() {
        Ok(servers) => servers,
        Err(error) => return Report::failed_to_start(&error),
    };
    let mut work = VecDeque::new();
    for group in groups {
        for version in &servers {
            let named = group.cases.iter().map(|(case, body)| {
                let server = if version.is_store() {
                    "store".to_owned()
                } else {
                    format!("etcd-{version}")
                };
                (format!("{server}::{}::{case}", group.name), *body)
            });
            let cases: Vec<_> = named.filter(|(name, _)| choice.takes(name)).collect();
            if !cases.is_empty() {
                work.push_back(Work {
                    version: version.clone(),
                    group,
                    cases,
                });
            }
        }
    }
    let report = Report::default();
    if choice.list {
        return Report::list(
            work.iter()
                .flat_map(|work| &work.cases)
                .map(|(name, _)| name),
        );
    }
    remember_panics();
    let queue = Mutex::new(work);
    std::thread::scope(|scope| {
        for _ in 0..choice.threads.unwrap_or(GROUPS_AT_ONCE) {
            scope.spawn(|| {
                while let Some(work) = next(&queue) {
                    work.run(&report);
                }
            });
        }
    });
    report.finish()
}

fn next<'a>(queue: &Mutex<VecDeque<Work<'a>>>) -> Option<Work<'a>> {
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front()
}

impl Work<'_> {
    fn run(&self, report: &Report) {
        let mut shared = None;
        for (name, body) in &self.cases {
            let outcome = self.case(&mut shared, *body);
            if outcome.is_err() || self.group.alone {
                // What a failed case left behind must not fail the next.
                shared = None;
            }
            report.case(name, outcome);
        }
    }

    fn case(&self, shared: &mut Option<Server>, body: Body) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let run = async {
            if shared.is_none() {
                *shared = Some(Server::start(&self.version, self.group).await?);
            }
            let server = shared.as_mut().context("just started")?;
            let mut case = Case::begin(server).await?;
            let outcome = tokio::time::timeout(CASE_LIMIT, body(&mut case)).await;
            case.end(server);
            outcome.with_context(|| format!("not done after {CASE_LIMIT:?}"))?
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
        runtime.shutdown_background();
        outcome.unwrap_or_else(|_| {
            let said = PANIC.with(RefCell::take);
            Err(anyhow!(said.unwrap_or_default()))
        })
    }
}

/// A panic's text belongs into the report, beside the name of its case.
fn remember_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without text");
        let said = format!("{}: {text}", place.unwrap_or_default());
        PANIC.with(|slot| *slot.borrow_mut() = Some(said));
    }));
}
