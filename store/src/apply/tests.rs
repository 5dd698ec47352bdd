use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use revkeep_schemas::etcd_api::etcdserverpb::alarm_request::AlarmAction;
use revkeep_schemas::etcd_api::etcdserverpb::{
    AlarmRequest, AlarmType, AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, CompactionRequest, DeleteRangeRequest, LeaseCheckpoint,
    LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest,
    RequestOp, TxnRequest, WatchCreateRequest, request_op,
};
use revkeep_schemas::store_api::proposal::Command;
use revkeep_schemas::store_api::{
    AuthenticateWithToken, ClusterVersion, MemberAttributes, Proposal,
};
use tempfile::TempDir;

use super::quota::Quota;
use super::{Applier, ApplierOptions, Outcome, Response};
use crate::auth::BcryptCost;
use crate::auth::token::Tokens;
use crate::backend::{Backend, BackendOptions, Bucket, MemoryDisk, Position};
use crate::error::StoreError;
use crate::lease::LessorOptions;
use crate::mvcc::MvccOptions;
use crate::raft::{EntryBody, PeerMember, StateMachine as _};
use crate::watch::WatchOptions;

struct Member {
    applier: Applier,
    folder: TempDir,
    disk: MemoryDisk,
    index: u64,
}

impl Member {
    fn new() -> Self {
        Self::with_quota(0)
    }

    fn with_quota(quota: i64) -> Self {
        let disk = MemoryDisk::new();
        let folder = TempDir::new().unwrap();
        Self {
            applier: open(&disk, &folder, quota),
            folder,
            disk,
            index: 0,
        }
    }

    /// The same member after its process was killed.
    fn killed(self) -> Self {
        let disk = self.disk.crash(1);
        Self {
            applier: open(&disk, &self.folder, 0),
            folder: self.folder,
            disk,
            index: 0,
        }
    }

    fn entry(&mut self, body: EntryBody<'_>) -> Vec<Outcome> {
        self.index += 1;
        let at = Position::new(1, self.index);
        self.applier.apply(at, body).unwrap()
    }

    fn commands(&mut self, proposals: &[Proposal]) -> Vec<Outcome> {
        self.entry(EntryBody::Commands(proposals))
    }

    fn run(&mut self, command: Command) -> Outcome {
        self.run_as("", 0, command)
    }

    fn run_as(&mut self, user: &str, auth_revision: u64, command: Command) -> Outcome {
        let proposal = Proposal {
            id: 1,
            user: user.to_owned(),
            auth_revision,
            command: Some(command),
        };
        self.commands(&[proposal]).pop().unwrap()
    }

    fn as_user(&mut self, user: &str, command: Command) -> Outcome {
        let revision = self.applier.shared().auth.revision();
        self.run_as(user, revision, command)
    }

    fn alarm(&mut self, action: AlarmAction, kind: AlarmType, member_id: u64) -> usize {
        let mut request = AlarmRequest {
            member_id,
            ..AlarmRequest::default()
        };
        request.set_action(action);
        request.set_alarm(kind);
        match self.run(Command::Alarm(request)).unwrap() {
            Response::Alarm(response) => response.alarms.len(),
            other => panic!("{other:?}"),
        }
    }

    fn value(&self, key: &str) -> Option<Bytes> {
        let request = RangeRequest {
            key: key.to_owned().into(),
            ..RangeRequest::default()
        };
        let mut found = self.applier.shared().mvcc.range(&request).unwrap().kvs;
        found.pop().map(|kv| kv.value)
    }
}

fn open(disk: &MemoryDisk, folder: &TempDir, quota: i64) -> Applier {
    let backend = Backend::open(Arc::new(disk.clone()), BackendOptions::default()).unwrap();
    let options = ApplierOptions {
        mvcc: MvccOptions::default(),
        snapshot_folder: folder.path().to_owned(),
        quota: Quota::new(quota),
        tokens: Tokens::simple(),
        bcrypt_cost: BcryptCost::new(4),
        lessor: LessorOptions::new(Duration::from_secs(1)),
        watch: WatchOptions::default(),
    };
    Applier::open(Arc::new(backend), options).unwrap()
}

fn put_request(key: &str, value: &str, lease: i64) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
        ..PutRequest::default()
    }
}

fn put(key: &str, value: &str) -> Command {
    Command::Put(put_request(key, value, 0))
}

fn delete(key: &str) -> Command {
    Command::DeleteRange(DeleteRangeRequest {
        key: key.to_owned().into(),
        ..DeleteRangeRequest::default()
    })
}

fn txn(request: request_op::Request) -> Command {
    Command::Txn(TxnRequest {
        success: vec![RequestOp {
            request: Some(request),
        }],
        ..TxnRequest::default()
    })
}

fn grant(id: i64, ttl: i64) -> Command {
    Command::LeaseGrant(LeaseGrantRequest { id, ttl })
}

#[track_caller]
fn refused(outcome: Outcome, text: &str) {
    assert_eq!(outcome.unwrap_err().message(), text);
}

const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const EMPTY: &str = "etcdserver: user name is empty";
const DENIED: &str = "etcdserver: permission denied";
const CORRUPT: &str = "etcdserver: corrupt cluster";

#[tokio::test]
async fn the_commands_of_an_entry_have_their_outcomes_in_order() {
    let mut member = Member::new();
    let proposal = |command| Proposal {
        command: Some(command),
        ..Proposal::default()
    };
    let outcomes = member.commands(&[
        proposal(put("a", "1")),
        proposal(grant(7, 60)),
        proposal(Command::Put(put_request("b", "2", 8))),
        Proposal::default(),
        proposal(Command::Put(put_request("b", "2", 7))),
        proposal(Command::Compaction(CompactionRequest {
            revision: 99,
            physical: false,
        })),
    ]);
    assert_eq!(outcomes.len(), 6);
    match outcomes.as_slice() {
        [
            Ok(Response::Put(one)),
            Ok(Response::LeaseGrant(lease)),
            Err(StoreError::LeaseNotFound),
            Err(StoreError::Internal { .. }),
            Ok(Response::Put(two)),
            Err(StoreError::FutureRevision),
        ] => {
            assert_eq!(one.header.unwrap().revision, 2);
            assert_eq!((lease.id, lease.ttl), (7, 60));
            assert_eq!(lease.header.unwrap().revision, 2);
            assert_eq!(two.header.unwrap().revision, 3);
        }
        other => panic!("{other:?}"),
    }
    // What is applied is not applied again.
    let before = member.applier.position();
    let again = [proposal(put("a", "other"))];
    let outcomes = member.applier.apply(before, EntryBody::Commands(&again));
    assert!(outcomes.unwrap().is_empty());
    assert_eq!(member.value("a").unwrap(), "1");
}

#[tokio::test]
async fn a_killed_member_has_whole_entries_and_gets_the_rest_again() {
    let mut member = Member::new();
    member.run(put("a", "1")).unwrap();
    member.run(grant(7, 60)).unwrap();
    let durable = member.applier.flush().unwrap();
    member.run(put("b", "1")).unwrap();
    member.alarm(AlarmAction::Activate, AlarmType::Corrupt, 1);
    let mut member = member.killed();
    assert_eq!(member.applier.position(), durable);
    assert_eq!(member.applier.durable(), durable);
    assert!(member.value("a").is_some() && member.value("b").is_none());
    assert!(member.applier.shared().mvcc.leases().contains(7));
    assert!(!member.applier.shared().alarms.is_raised(AlarmType::Corrupt));
    member.index = durable.index;
    member.run(put("b", "1")).unwrap();
    assert_eq!(member.applier.shared().mvcc.revision(), 3);
}

#[tokio::test]
async fn a_full_database_still_reads_and_deletes() {
    let mut member = Member::new();
    member.run(put("a", "1")).unwrap();
    member.run(grant(7, 60)).unwrap();
    assert_eq!(
        member.alarm(AlarmAction::Activate, AlarmType::Nospace, 5),
        1
    );
    refused(member.run(put("b", "1")), NO_SPACE);
    refused(member.run(grant(8, 60)), NO_SPACE);
    let putting = request_op::Request::RequestPut(put_request("b", "1", 0));
    refused(member.run(txn(putting.clone())), NO_SPACE);
    let reading = RangeRequest {
        key: Bytes::from_static(b"a"),
        ..RangeRequest::default()
    };
    member
        .run(txn(request_op::Request::RequestRange(reading)))
        .unwrap();
    member.run(delete("a")).unwrap();
    member
        .run(Command::LeaseRevoke(LeaseRevokeRequest { id: 7 }))
        .unwrap();
    let compaction = CompactionRequest {
        revision: 3,
        physical: true,
    };
    member.run(Command::Compaction(compaction)).unwrap();
    assert_eq!(member.alarm(AlarmAction::Get, AlarmType::None, 0), 1);
    // Another member's alarm of the kind keeps it in force.
    member.alarm(AlarmAction::Activate, AlarmType::Nospace, 6);
    assert_eq!(
        member.alarm(AlarmAction::Deactivate, AlarmType::Nospace, 5),
        1
    );
    refused(member.run(put("b", "1")), NO_SPACE);
    assert_eq!(
        member.alarm(AlarmAction::Deactivate, AlarmType::Nospace, 6),
        1
    );
    member.run(put("b", "1")).unwrap();
    member.run(txn(putting)).unwrap();
    // What is not raised cannot be cleared, and nothing is no alarm.
    assert_eq!(
        member.alarm(AlarmAction::Deactivate, AlarmType::Nospace, 6),
        0
    );
    assert_eq!(member.alarm(AlarmAction::Activate, AlarmType::None, 6), 0);
}

#[tokio::test]
async fn members_that_differ_refuse_every_change_of_keys() {
    let mut member = Member::new();
    member.run(put("a", "1")).unwrap();
    member.run(grant(7, 60)).unwrap();
    member.alarm(AlarmAction::Activate, AlarmType::Corrupt, 5);
    let compaction = CompactionRequest {
        revision: 2,
        physical: false,
    };
    for command in [
        put("a", "2"),
        delete("a"),
        txn(request_op::Request::RequestRange(RangeRequest::default())),
        grant(8, 60),
        Command::LeaseRevoke(LeaseRevokeRequest { id: 7 }),
        Command::Compaction(compaction),
    ] {
        refused(member.run(command), CORRUPT);
    }
    assert_eq!(member.value("a").unwrap(), "1");
    assert_eq!(
        member.alarm(AlarmAction::Deactivate, AlarmType::Corrupt, 5),
        1
    );
    member.run(delete("a")).unwrap();
}

#[tokio::test]
async fn the_write_that_exceeds_the_quota_is_done_and_says_so() {
    let mut member = Member::with_quota(1);
    refused(member.run(put("a", "1")), NO_SPACE);
    assert_eq!(member.value("a").unwrap(), "1", "every member has done it");
    refused(member.run(grant(7, 60)), NO_SPACE);
    assert!(member.applier.shared().mvcc.leases().contains(7));
    member.run(delete("a")).unwrap();
    // An error of its own comes first.
    let with_lease = Command::Put(put_request("a", "1", 9));
    refused(
        member.run(with_lease),
        "etcdserver: requested lease not found",
    );
}

#[tokio::test]
async fn alarms_are_etcds_entries() {
    let mut member = Member::new();
    member.alarm(AlarmAction::Activate, AlarmType::Nospace, 0x1234);
    let entries = member.applier.shared().backend.entries(Bucket::Alarm);
    let keys: Vec<_> = entries.unwrap().into_iter().collect();
    assert_eq!(
        keys,
        [(
            Bytes::from_static(&[0x08, 0xb4, 0x24, 0x10, 0x01]),
            Bytes::new()
        )]
    );
}

#[tokio::test]
async fn rights_are_judged_where_the_log_is_applied() {
    let mut member = Member::new();
    for name in ["root", "alice"] {
        let user = AuthUserAddRequest {
            name: name.to_owned(),
            ..AuthUserAddRequest::default()
        };
        member.run(Command::AuthUserAdd(user)).unwrap();
    }
    let give = AuthUserGrantRoleRequest {
        user: "root".to_owned(),
        role: "root".to_owned(),
    };
    member.run(Command::AuthUserGrantRole(give)).unwrap();
    let enable = Command::AuthEnable(AuthEnableRequest {});
    member.run(enable.clone()).unwrap();

    refused(member.run(put("a", "1")), EMPTY);
    refused(member.as_user("alice", put("a", "1")), DENIED);
    refused(member.as_user("alice", delete("a")), DENIED);
    let add = Command::AuthRoleAdd(AuthRoleAddRequest {
        name: "r".to_owned(),
    });
    refused(member.as_user("alice", add.clone()), DENIED);
    refused(member.run(add.clone()), EMPTY);
    let stale = member.applier.shared().auth.revision();
    member.as_user("root", add).unwrap();
    refused(
        member.run_as("root", stale, put("a", "1")),
        "etcdserver: revision of auth store is old",
    );
    member.as_user("root", put("a", "1")).unwrap();
    // The end of a lease is the store's own wish.
    member.as_user("root", grant(7, 60)).unwrap();
    let key = Command::Put(put_request("leased", "", 7));
    member.as_user("root", key).unwrap();
    let revoke = Command::LeaseRevoke(LeaseRevokeRequest { id: 7 });
    refused(member.as_user("alice", revoke.clone()), DENIED);
    let internal = member.applier.shared().auth.internal();
    member
        .run_as(&internal.user, internal.revision, revoke)
        .unwrap();
    assert_eq!(member.value("leased"), None);
    // While an alarm is raised, nobody may do more than before.
    member.alarm(AlarmAction::Activate, AlarmType::Nospace, 5);
    refused(member.as_user("alice", delete("a")), DENIED);
}

#[tokio::test]
async fn a_login_makes_a_token_of_its_entry() {
    let mut member = Member::new();
    let shared = member.applier.shared().clone();
    let mut user = AuthUserAddRequest {
        name: "root".to_owned(),
        password: "secret".to_owned(),
        ..AuthUserAddRequest::default()
    };
    shared.auth.hash_new_user(&mut user).await.unwrap();
    member.run(Command::AuthUserAdd(user)).unwrap();
    let login = Command::Authenticate(AuthenticateWithToken {
        user: "root".to_owned(),
        token: shared.auth.propose_token("root", 2).unwrap(),
    });
    refused(
        member.run(login.clone()),
        "etcdserver: authentication is not enabled",
    );
    let give = AuthUserGrantRoleRequest {
        user: "root".to_owned(),
        role: "root".to_owned(),
    };
    member.run(Command::AuthUserGrantRole(give)).unwrap();
    member
        .run(Command::AuthEnable(AuthEnableRequest {}))
        .unwrap();
    let Response::Authenticate(response) = member.run(login).unwrap() else {
        panic!("no token");
    };
    assert!(response.token.ends_with(&format!(".{}", member.index)));
    let who = shared.auth.recognise(&response.token).await.unwrap();
    assert_eq!(who.unwrap().user, "root");
}

#[tokio::test]
async fn members_come_from_consensus_and_tell_the_rest_themselves() {
    let mut member = Member::new();
    let peer = |id: u64, name: &str, learner| PeerMember {
        id,
        name: name.to_owned(),
        peer_urls: vec![format!("http://peer-{id}")],
        learner,
    };
    let raft_bytes = Bytes::from_static(b"of consensus");
    let peers = [peer(0xa, "one", false), peer(0xb, "", true)];
    member.entry(EntryBody::Membership {
        raft_bytes: &raft_bytes,
        members: &peers,
    });
    assert_eq!(member.applier.raft_state(), Some(raft_bytes.clone()));
    assert!(!member.applier.is_started(0xb));
    let attributes = MemberAttributes {
        member_id: 0xb,
        name: "two".to_owned(),
        client_urls: vec!["http://client".to_owned()],
    };
    member
        .run(Command::MemberAttributes(attributes.clone()))
        .unwrap();
    assert!(member.applier.is_started(0xb));
    // A promotion keeps what the member told.
    let peers = [peer(0xa, "one", false), peer(0xb, "", false)];
    member.entry(EntryBody::Membership {
        raft_bytes: &raft_bytes,
        members: &peers,
    });
    let entries = member.applier.shared().backend.entries(Bucket::Members);
    let entries = entries.unwrap();
    assert_eq!(
        entries[&Bytes::from_static(b"b")],
        r#"{"id":11,"peerURLs":["http://peer-11"],"name":"two","clientURLs":["http://client"]}"#
    );
    member.entry(EntryBody::Membership {
        raft_bytes: &raft_bytes,
        members: &peers[..1],
    });
    assert!(member.applier.is_removed(0xb) && !member.applier.is_removed(0xa));
    // What it says afterwards comes too late.
    member.run(Command::MemberAttributes(attributes)).unwrap();
    let version = ClusterVersion {
        version: "3.5.0".to_owned(),
    };
    member.run(Command::ClusterVersion(version)).unwrap();
    member.applier.flush().unwrap();
    let member = member.killed();
    let members = &member.applier.shared().members;
    assert_eq!(members.list().len(), 1);
    assert_eq!(members.get(0xa).unwrap().name, "one");
    assert!(members.is_removed(0xb));
    assert_eq!(members.cluster_version().as_deref(), Some("3.5.0"));
    assert_eq!(member.applier.raft_state(), Some(raft_bytes));
}

#[tokio::test]
async fn a_snapshot_takes_the_place_of_everything() {
    let mut old = Member::new();
    old.run(put("old", "1")).unwrap();
    old.alarm(AlarmAction::Activate, AlarmType::Nospace, 9);
    let (stream, mut receiver) = old.applier.shared().watchers.stream();
    let all = WatchCreateRequest {
        range_end: Bytes::from_static(&[0]),
        ..WatchCreateRequest::default()
    };
    stream.create(all).await;
    assert!(receiver.recv().await.unwrap().unwrap().created);

    let mut new = Member::new();
    for number in 0..10 {
        new.run(put("new", &number.to_string())).unwrap();
    }
    new.run(grant(7, 60)).unwrap();
    let checkpoints = vec![LeaseCheckpoint {
        id: 7,
        remaining_ttl: 30,
    }];
    new.run(Command::LeaseCheckpoint(LeaseCheckpointRequest {
        checkpoints,
    }))
    .unwrap();
    let user = AuthUserAddRequest {
        name: "alice".to_owned(),
        ..AuthUserAddRequest::default()
    };
    new.run(Command::AuthUserAdd(user)).unwrap();
    let peers = [PeerMember {
        id: 3,
        ..PeerMember::default()
    }];
    let raft_bytes = Bytes::from_static(b"consensus");
    new.entry(EntryBody::Membership {
        raft_bytes: &raft_bytes,
        members: &peers,
    });

    let file = new.applier.snapshot().unwrap();
    assert_eq!(file.position, new.applier.position());
    old.applier.install(&file).unwrap();
    let shared = old.applier.shared();
    assert_eq!(old.applier.position(), new.applier.position());
    assert_eq!(old.applier.raft_state(), Some(raft_bytes));
    assert_eq!(old.value("old"), None);
    assert_eq!(old.value("new").unwrap(), "9");
    assert_eq!(shared.mvcc.leases().get(7).unwrap().remaining_ttl_s, 30);
    assert!(!shared.alarms.is_raised(AlarmType::Nospace));
    assert_eq!(shared.auth.revision(), 2);
    assert!(shared.members.get(3).is_some());
    // The watcher goes on where it was.
    let mut seen = 2;
    while seen < 11 {
        for event in receiver.recv().await.unwrap().unwrap().events {
            seen += 1;
            assert_eq!(event.kv.unwrap().mod_revision, seen);
        }
    }
    old.index = old.applier.position().index;
    old.run(put("new", "more")).unwrap();
    let event = receiver
        .recv()
        .await
        .unwrap()
        .unwrap()
        .events
        .pop()
        .unwrap();
    assert_eq!(event.kv.unwrap().mod_revision, 12);
    let path = file.path.to_path_buf();
    drop(file);
    assert!(!path.exists());
}

#[tokio::test]
async fn watchers_know_of_a_write_when_its_answer_comes() {
    let mut member = Member::new();
    let (stream, mut receiver) = member.applier.shared().watchers.stream();
    let one = WatchCreateRequest {
        key: Bytes::from_static(b"a"),
        ..WatchCreateRequest::default()
    };
    stream.create(one).await;
    assert!(receiver.recv().await.unwrap().unwrap().created);
    for revision in 2..200 {
        member.run(put("b", "")).unwrap();
        stream.request_progress();
        let answer = receiver.recv().await.unwrap().unwrap();
        assert_eq!(answer.header.unwrap().revision, revision);
    }
}
