//! How members are: what a look at one tells of it and of its cluster.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmType, GetOptions};

use super::Member;
use crate::AgentError;

/// A member's own word on itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Its id.
    pub member_id: u64,
    /// etcd's version.
    pub version: String,
    /// The member that it takes for the leader; 0 for none.
    pub leader: u64,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// The size of its database file, in bytes.
    pub db_bytes: u64,
    /// The pages of it that are in use, in bytes.
    pub used_bytes: u64,
    /// The most that the file may have, in bytes; `None` where it does not say (before etcd 3.6).
    pub quota_bytes: Option<u64>,
    /// The Raft index up to which entries are committed.
    pub raft_index: u64,
    /// The Raft index up to which they are applied.
    pub applied_index: u64,
    /// What is wrong with it, in its own words.
    pub errors: Vec<String>,
}

impl Condition {
    /// Bytes of the file that are free.
    #[must_use]
    pub const fn free_bytes(&self) -> u64 {
        self.db_bytes.saturating_sub(self.used_bytes)
    }

    /// The same in percent of the file.
    #[must_use]
    pub fn free_percent(&self) -> u64 {
        self.free_bytes() * 100 / self.db_bytes.max(1)
    }
}

/// A member as its cluster lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub member_id: u64,
    /// Its name; empty before its first start.
    pub name: String,
    /// Where it serves clients.
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    pub is_learner: bool,
}

/// An alarm that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The member that it is about.
    pub member_id: u64,
    /// `NOSPACE` or `CORRUPT`.
    pub kind: &'static str,
}

impl Member {
    /// How it is.
    pub async fn condition(&self) -> Result<Condition, AgentError> {
        let mut client = self.client.maintenance_client();
        let status = self.ask("status", client.status()).await?;
        let bytes = |count: i64| u64::try_from(count).unwrap_or(0);
        let quota = bytes(status.db_size_quota());
        Ok(Condition {
            member_id: status
                .header()
                .map_or(0, etcd_client::ResponseHeader::member_id),
            version: status.version().to_owned(),
            leader: status.leader(),
            is_learner: status.is_learner(),
            db_bytes: bytes(status.db_size()),
            used_bytes: bytes(status.raft_used_db_size()),
            quota_bytes: (quota > 0).then_some(quota),
            raft_index: status.raft_index(),
            applied_index: status.raft_applied_index(),
            errors: status.errors().to_vec(),
        })
    }

    /// The members of its cluster.
    pub async fn members(&self) -> Result<Vec<Listed>, AgentError> {
        let mut client = self.client.cluster_client();
        let list = self.ask("member list", client.member_list()).await?;
        let members = list.members().iter();
        Ok(members
            .map(|one| Listed {
                member_id: one.id(),
                name: one.name().to_owned(),
                client_urls: one.client_urls().to_vec(),
                is_learner: one.is_learner(),
            })
            .collect())
    }

    /// The alarms that are set.
    pub async fn alarms(&self) -> Result<Vec<Alarm>, AgentError> {
        let mut client = self.client.maintenance_client();
        let asking = client.alarm(AlarmAction::Get, AlarmType::None, None);
        let answer = self.ask("alarm list", asking).await?;
        let alarms = answer.alarms().iter();
        Ok(alarms
            .filter_map(|one| {
                let kind = match one.alarm() {
                    AlarmType::None => return None,
                    AlarmType::Nospace => "NOSPACE",
                    AlarmType::Corrupt => "CORRUPT",
                };
                let member_id = one.member_id();
                Some(Alarm { member_id, kind })
            })
            .collect())
    }

    /// Reads from its own file, whatever the other members say. One that is being defragmented does not answer.
    pub(crate) async fn reads_own(&self, patience: Duration) -> Result<(), AgentError> {
        let mut client = self.client.kv_client();
        let options = GetOptions::new().with_serializable().with_count_only();
        let reading = client.get("\0", Some(options));
        self.ask_within(patience, "range", reading).await?;
        Ok(())
    }

    /// Has it rewrite its database file without the free pages. It answers nothing else meanwhile.
    pub(crate) async fn defragment(&self, patience: Duration) -> Result<(), AgentError> {
        let mut client = self.client.maintenance_client();
        self.ask_within(patience, "defragment", client.defragment())
            .await?;
        Ok(())
    }
}
