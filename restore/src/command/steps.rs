//! What an operator types for each member, to copy and paste.

use revkeep_schemas::Revision;
use revkeep_schemas::member::{NewMember, RestoredCluster};
use serde::Serialize;

use crate::bump::Bump;
use crate::execute::Destination;
use crate::leases::LeaseRule;

/// A command, and where it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The member; none where it does not matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The command.
    pub command: String,
}

/// What all commands have in common: the very result that was planned, whatever comes into the vault meanwhile.
pub(super) struct Common<'a> {
    pub(super) vault: &'a str,
    pub(super) cluster: &'a str,
    pub(super) timeline: &'a str,
    pub(super) revision: Revision,
    /// Flags that have no value.
    pub(super) switches: Vec<&'static str>,
    pub(super) bump: Option<&'a Bump>,
    pub(super) leases: LeaseRule,
}

impl Common<'_> {
    fn words(&self, command: &str) -> Vec<String> {
        let mut words: Vec<String> = vec![
            "revkeep".to_owned(),
            command.to_owned(),
            self.cluster.to_owned(),
            "--vault".to_owned(),
            self.vault.to_owned(),
            "--timeline".to_owned(),
            self.timeline.to_owned(),
            "--to-revision".to_owned(),
            self.revision.to_string(),
        ];
        words.extend(self.switches.iter().map(ToString::to_string));
        if let Some(bump) = self.bump {
            words.extend(["--bump-revision".to_owned(), bump.amount.to_string()]);
            words.push("--mark-compacted".to_owned());
        }
        let leases = match self.leases {
            LeaseRule::Keep => None,
            LeaseRule::Detach => Some("detach"),
            LeaseRule::Expire => Some("expire"),
        };
        if let Some(leases) = leases {
            words.extend(["--leases".to_owned(), leases.to_owned()]);
        }
        words
    }
}

/// The commands that lead to a running cluster.
pub(super) fn steps(common: &Common<'_>, destination: &Destination) -> Vec<Step> {
    let path = |path: &std::path::Path| path.display().to_string();
    match destination {
        Destination::SnapshotFile { path: file } => {
            let export = [common.words("export"), vec![path(file)]].concat();
            let restore = ["etcdutl", "snapshot", "restore"].map(str::to_owned);
            let restore = [&restore[..], &[path(file)]].concat();
            let place = ["--data-dir", "/var/lib/etcd-restored"].map(str::to_owned);
            [export, [restore, place.to_vec()].concat()]
                .into_iter()
                .map(|words| Step {
                    member: None,
                    command: line(&words),
                })
                .collect()
        }
        Destination::DataDir {
            path: data_dir,
            wal_dir,
            cluster,
            ..
        } => {
            let mut places = vec!["--data-dir".to_owned(), path(data_dir)];
            if let Some(wal_dir) = wal_dir {
                places.extend(["--wal-dir".to_owned(), path(wal_dir)]);
            }
            of_members(common, cluster, &places, &["etcd"], false)
        }
        Destination::StoreDir {
            path: data_dir,
            cluster,
        } => {
            let places = ["--store-dir".to_owned(), path(data_dir)];
            of_members(common, cluster, &places, &["revkeep-store", "serve"], true)
        }
    }
}

/// For each member the restore, then for each the start.
fn of_members(
    common: &Common<'_>,
    cluster: &RestoredCluster,
    places: &[String],
    server: &[&str],
    is_store: bool,
) -> Vec<Step> {
    let pairs = cluster.members.iter().flat_map(|member| {
        let pair = |url: &String| format!("{}={url}", member.name);
        member.peer_urls.iter().map(pair)
    });
    let pairs = pairs.collect::<Vec<_>>().join(",");
    let belonging = |member: &NewMember| {
        let urls = member.peer_urls.join(",");
        let flags = [
            ("--name", member.name.as_str()),
            ("--initial-cluster", &pairs),
            ("--initial-cluster-token", &cluster.token),
            ("--initial-advertise-peer-urls", &urls),
        ];
        let words = flags.iter().flat_map(|(flag, value)| [*flag, *value]);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let its_places: Vec<_> = places
        .iter()
        .map(|word| {
            if is_store && word == "--store-dir" {
                "--data-dir".to_owned()
            } else {
                word.clone()
            }
        })
        .collect();
    let step = |member: &NewMember, words: Vec<String>| Step {
        member: Some(member.name.clone()),
        command: line(&words),
    };
    let restores = cluster.members.iter().map(|member| {
        let words = [common.words("restore"), places.to_vec(), belonging(member)].concat();
        step(member, words)
    });
    let starts = cluster.members.iter().map(|member| {
        let server: Vec<_> = server.iter().map(ToString::to_string).collect();
        let listens = ["--listen-peer-urls".to_owned(), member.peer_urls.join(",")];
        let words = [
            server,
            its_places.clone(),
            belonging(member),
            listens.to_vec(),
        ]
        .concat();
        step(member, words)
    });
    restores.chain(starts).collect()
}

/// Words as a POSIX shell reads them.
pub(super) fn line(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
        if !word.is_empty() && word.bytes().all(plain) {
            return word.clone();
        }
        format!("'{}'", word.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_restored_to_the_same_and_then_started() {
        let member = |name: &str, port: u16| NewMember {
            name: name.to_owned(),
            peer_urls: vec![format!("http://10.0.0.1:{port}")],
        };
        let bump = Bump::by(Revision(42), 1000).unwrap();
        let common = Common {
            vault: "s3://b/p?region=x&endpoint=http://h",
            cluster: "prod",
            timeline: "0002",
            revision: Revision(42),
            switches: vec!["--keep-history"],
            bump: Some(&bump),
            leases: LeaseRule::Expire,
        };
        let destination = Destination::DataDir {
            path: "/var/lib/it's etcd".into(),
            wal_dir: None,
            cluster: RestoredCluster {
                members: vec![member("a", 1), member("b", 2)],
                token: "t".to_owned(),
            },
            name: "a".to_owned(),
        };
        let steps = steps(&common, &destination);
        let members: Vec<_> = steps
            .iter()
            .filter_map(|step| step.member.as_deref())
            .collect();
        assert_eq!(members, ["a", "b", "a", "b"]);
        assert_eq!(
            steps[1].command,
            "revkeep restore prod --vault 's3://b/p?region=x&endpoint=http://h' --timeline 0002 --to-revision 42 \
             --keep-history --bump-revision 1000 --mark-compacted --leases expire --data-dir '/var/lib/it'\\''s etcd' --name b \
             --initial-cluster a=http://10.0.0.1:1,b=http://10.0.0.1:2 --initial-cluster-token t \
             --initial-advertise-peer-urls http://10.0.0.1:2"
        );
        assert_eq!(
            steps[2].command,
            "etcd --data-dir '/var/lib/it'\\''s etcd' --name a --initial-cluster a=http://10.0.0.1:1,b=http://10.0.0.1:2 \
             --initial-cluster-token t --initial-advertise-peer-urls http://10.0.0.1:1 --listen-peer-urls http://10.0.0.1:1"
        );
    }
}
