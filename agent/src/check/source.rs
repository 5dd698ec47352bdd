//! The endpoints: who answers there, and then everything else about the source.

use std::time::Instant;

use super::releases::{Release, judge};
use super::{Report, Source, history, members, permissions, tls};
use crate::run::RunOptions;
use crate::source::{Connection, Member};

/// Looks at the source, through the first endpoint that answers.
pub(super) async fn look(
    connection: &Connection,
    options: &RunOptions,
    report: &mut Report,
) -> Option<Source> {
    let mut source: Option<Source> = None;
    tls::files(connection, report).await;
    for endpoint in &connection.endpoints {
        let asked = Instant::now();
        match Box::pin(Member::connect(connection, endpoint)).await {
            Ok((member, identity)) => {
                let took = asked.elapsed().as_millis();
                let (id, version) = (identity.member_id, &identity.version);
                report.ok(
                    "endpoint",
                    format!("{endpoint} answers in {took} ms: member {id:x}, etcd {version}"),
                );
                release(version, report);
                tls::shown(connection, endpoint, report).await;
                if let Some(first) = &source
                    && first.identity.cluster_id != identity.cluster_id
                {
                    report.fail(
                        "endpoint",
                        format!(
                            "{endpoint} belongs to cluster {:x}, and {} to cluster {:x}",
                            identity.cluster_id,
                            first.member.endpoint(),
                            first.identity.cluster_id
                        ),
                        "name members of one cluster only",
                    );
                }
                let current = None;
                source.get_or_insert(Source {
                    member,
                    identity,
                    current,
                });
            }
            Err(error) => {
                report.error(
                    "endpoint",
                    &error,
                    "see whether it runs, whether the address is right, and whether the certificates fit",
                );
                tls::shown(connection, endpoint, report).await;
            }
        }
    }
    let mut source = source?;
    let started = Instant::now();
    let asked = Instant::now();
    match source.member.current_revision().await {
        Ok(current) => {
            source.current = Some(current);
            let took = asked.elapsed().as_millis();
            report.ok(
                "read",
                format!(
                    "a linearizable read takes {took} ms; the source stands at revision {current}"
                ),
            );
        }
        Err(error) => report.error(
            "read",
            &error,
            "the cluster has no quorum, or the member is cut off: mend the cluster first",
        ),
    }
    permissions::look(&source, report).await;
    members::look(connection, &source, options, report).await;
    history::look(&source, started, options, report).await;
    Some(source)
}

fn release(version: &str, report: &mut Report) {
    match judge(version) {
        Release::Good => {}
        Release::Untested => report.warn(
            "release",
            format!("etcd {version} is not tested with this agent"),
            "use 3.4 to 3.7, or try a restore before relying on it",
        ),
        Release::Diverges => report.warn(
            "release",
            format!("members of etcd {version} can diverge when they are killed under load"),
            "update to 3.5.13 or later",
        ),
        Release::LosesEvents => report.warn(
            "release",
            format!("a slow watch of etcd {version} can lose events; the agent notices and watches again"),
            "update to 3.4.31, 3.5.13 or later",
        ),
    }
}
