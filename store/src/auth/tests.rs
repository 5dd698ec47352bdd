use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use revkeep_schemas::etcd_api::authpb::{Permission, UserAddOptions, permission};
use revkeep_schemas::etcd_api::etcdserverpb::{
    AuthRoleAddRequest, AuthRoleDeleteRequest, AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest, AuthUserAddRequest, AuthUserChangePasswordRequest,
    AuthUserDeleteRequest, AuthUserGrantRoleRequest, AuthUserRevokeRoleRequest, Compare,
    DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, request_op,
};
use tokio::sync::watch;

use super::token::Tokens;
use super::{Access, Auth, AuthInfo, BcryptCost, LeaseKeys};
use crate::backend::{Backend, BackendOptions, Bucket, MemoryDisk};
use crate::error::StoreError;
use crate::executor::Executor;

struct Fixture {
    auth: Auth,
    backend: Arc<Backend>,
    applied: watch::Sender<u64>,
}

struct NoLeases;

impl LeaseKeys for NoLeases {
    fn keys_of(&self, _: i64) -> Option<Vec<Bytes>> {
        None
    }
}

/// One lease, 7, with the key `x`.
struct OneLease;

impl LeaseKeys for OneLease {
    fn keys_of(&self, lease: i64) -> Option<Vec<Bytes>> {
        (lease == 7).then(|| vec![Bytes::from_static(b"x")])
    }
}

impl Fixture {
    fn new() -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let backend = Arc::new(Backend::open(disk, BackendOptions::default()).unwrap());
        let applied = watch::Sender::new(0);
        Self {
            auth: open(&backend, &applied),
            backend,
            applied,
        }
    }

    /// With root, and a user `alice` of the role `writer`, who may read and write `[a, c)`.
    async fn with_alice() -> Self {
        let fixture = Self::new();
        fixture.add_user("root", "secret").await;
        fixture.add_user("alice", "wonder").await;
        let auth = &fixture.auth;
        auth.role_add(&AuthRoleAddRequest {
            name: "writer".to_owned(),
        })
        .unwrap();
        fixture.grant("writer", permission::Type::Readwrite, b"a", b"c");
        fixture.give("alice", "writer");
        fixture.give("root", "root");
        auth.enable().unwrap();
        fixture
    }

    async fn add_user(&self, name: &str, password: &str) {
        let mut request = AuthUserAddRequest {
            name: name.to_owned(),
            password: password.to_owned(),
            ..AuthUserAddRequest::default()
        };
        self.auth.hash_new_user(&mut request).await.unwrap();
        assert_eq!(request.password, "");
        self.auth.user_add(&request).unwrap();
    }

    fn give(&self, user: &str, role: &str) {
        self.auth
            .user_grant_role(&AuthUserGrantRoleRequest {
                user: user.to_owned(),
                role: role.to_owned(),
            })
            .unwrap();
    }

    fn grant(&self, role: &str, kind: permission::Type, key: &[u8], range_end: &[u8]) {
        let request = AuthRoleGrantPermissionRequest {
            name: role.to_owned(),
            perm: Some(Permission {
                perm_type: kind.into(),
                key: Bytes::copy_from_slice(key),
                range_end: Bytes::copy_from_slice(range_end),
            }),
        };
        self.auth.role_grant_permission(&request).unwrap();
    }

    fn who(&self, user: &str) -> AuthInfo {
        AuthInfo::new(user, self.auth.revision())
    }

    async fn login(&self, user: &str, password: &str, index: u64) -> String {
        let revision = self
            .auth
            .check_password(user, password.to_owned())
            .await
            .unwrap();
        let proposed = self.auth.propose_token(user, revision).unwrap();
        self.auth.authenticate(user, &proposed, index).unwrap()
    }
}

fn open(backend: &Arc<Backend>, applied: &watch::Sender<u64>) -> Auth {
    let cost = BcryptCost::new(4);
    let tokens = Tokens::simple();
    Auth::open(
        Arc::clone(backend),
        tokens,
        cost,
        Executor::Threads,
        applied.subscribe(),
    )
    .unwrap()
}

#[track_caller]
fn refused<T: std::fmt::Debug>(outcome: Result<T, StoreError>, text: &str) {
    assert_eq!(outcome.unwrap_err().message(), text);
}

const MANAGEMENT: &str = "etcdserver: invalid auth management";
const FAILED: &str = "etcdserver: authentication failed, invalid user ID or password";
const INVALID: &str = "etcdserver: invalid auth token";
const DENIED: &str = "etcdserver: permission denied";

#[tokio::test]
async fn a_user_may_do_what_the_roles_add_up_to() {
    let fixture = Fixture::with_alice().await;
    let (auth, alice) = (&fixture.auth, fixture.who("alice"));
    auth.check(&alice, Access::Read, b"a", b"c").unwrap();
    auth.check(&alice, Access::Write, b"bbb", b"").unwrap();
    refused(auth.check(&alice, Access::Read, b"a", b"d"), DENIED);
    refused(auth.check(&alice, Access::Read, b"c", b""), DENIED);
    // With a neighbouring range of another role both are one.
    auth.role_add(&AuthRoleAddRequest {
        name: "reader".to_owned(),
    })
    .unwrap();
    fixture.grant("reader", permission::Type::Read, b"c", b"e");
    fixture.give("alice", "reader");
    let alice = fixture.who("alice");
    auth.check(&alice, Access::Read, b"a", b"e").unwrap();
    refused(auth.check(&alice, Access::Write, b"a", b"e"), DENIED);
    // Root may do everything, a stranger nothing.
    auth.check(&fixture.who("root"), Access::Write, &[0], &[0])
        .unwrap();
    refused(
        auth.check(&fixture.who("bob"), Access::Read, b"a", b""),
        DENIED,
    );
    refused(
        auth.check(&AuthInfo::default(), Access::Read, b"a", b""),
        "etcdserver: user name is empty",
    );
    // While authentication is off nobody is asked.
    auth.disable();
    auth.check(&AuthInfo::default(), Access::Write, b"z", b"")
        .unwrap();
}

#[tokio::test]
async fn rights_that_have_changed_since_make_a_request_old() {
    let fixture = Fixture::with_alice().await;
    let auth = &fixture.auth;
    let before = fixture.who("alice");
    fixture.grant("writer", permission::Type::Read, b"x", b"");
    refused(
        auth.check(&before, Access::Read, b"a", b""),
        "etcdserver: revision of auth store is old",
    );
    auth.check(&fixture.who("alice"), Access::Read, b"x", b"")
        .unwrap();
}

#[tokio::test]
async fn each_operation_asks_for_its_own_rights() {
    let fixture = Fixture::with_alice().await;
    let auth = &fixture.auth;
    fixture.grant("writer", permission::Type::Write, b"w", b"");
    let alice = fixture.who("alice");
    let put = |key: &str, lease, prev_kv| PutRequest {
        key: key.to_owned().into(),
        lease,
        prev_kv,
        ..PutRequest::default()
    };
    auth.check_put(&alice, &put("w", 0, false), &NoLeases)
        .unwrap();
    // To see what was there needs the right to read.
    refused(
        auth.check_put(&alice, &put("w", 0, true), &NoLeases),
        DENIED,
    );
    // To hang a key on a lease needs the right to end the lease.
    refused(
        auth.check_put(&alice, &put("a", 7, false), &OneLease),
        DENIED,
    );
    auth.check_put(&alice, &put("a", 8, false), &OneLease)
        .unwrap();
    refused(auth.check_lease_write(&alice, 7, &OneLease), DENIED);
    refused(auth.check_lease_read(Some(&alice), 7, &OneLease), DENIED);
    refused(
        auth.check_lease_read(None, 7, &OneLease),
        "etcdserver: user name is empty",
    );
    let root = fixture.who("root");
    auth.check_lease_write(&root, 7, &OneLease).unwrap();
    let delete = |prev_kv| DeleteRangeRequest {
        key: Bytes::from_static(b"w"),
        prev_kv,
        ..DeleteRangeRequest::default()
    };
    auth.check_delete_range(&alice, &delete(false)).unwrap();
    refused(auth.check_delete_range(&alice, &delete(true)), DENIED);

    let op = |request| RequestOp {
        request: Some(request),
    };
    let read = |key: &str| RangeRequest {
        key: key.to_owned().into(),
        ..RangeRequest::default()
    };
    let fine = TxnRequest {
        success: vec![op(request_op::Request::RequestPut(put("w", 0, false)))],
        failure: vec![op(request_op::Request::RequestRange(read("a")))],
        ..TxnRequest::default()
    };
    auth.check_txn(&alice, &fine, &NoLeases).unwrap();
    // The branch that is not taken counts as well, and so does what is nested or compared.
    for request in [
        request_op::Request::RequestRange(read("w")),
        request_op::Request::RequestDeleteRange(delete(true)),
        request_op::Request::RequestPut(put("w", 0, true)),
    ] {
        let inner = TxnRequest {
            failure: vec![op(request)],
            ..TxnRequest::default()
        };
        let outer = TxnRequest {
            failure: vec![op(request_op::Request::RequestTxn(inner))],
            ..fine.clone()
        };
        refused(auth.check_txn(&alice, &outer, &NoLeases), DENIED);
        auth.check_txn(&root, &outer, &NoLeases).unwrap();
    }
    let compared = TxnRequest {
        compare: vec![Compare {
            key: Bytes::from_static(b"w"),
            ..Compare::default()
        }],
        ..fine
    };
    refused(auth.check_txn(&alice, &compared, &NoLeases), DENIED);
}

#[tokio::test]
async fn root_cannot_be_locked_out() {
    let fixture = Fixture::new();
    let auth = &fixture.auth;
    refused(auth.enable(), "etcdserver: root user does not exist");
    fixture.add_user("root", "secret").await;
    refused(
        auth.enable(),
        "etcdserver: root user does not have root role",
    );
    fixture.give("root", "root");
    auth.enable().unwrap();
    let root = || "root".to_owned();
    refused(
        auth.user_delete(&AuthUserDeleteRequest { name: root() }),
        MANAGEMENT,
    );
    refused(
        auth.role_delete(&AuthRoleDeleteRequest { role: root() }),
        MANAGEMENT,
    );
    let revoke = AuthUserRevokeRoleRequest {
        name: root(),
        role: root(),
    };
    refused(auth.user_revoke_role(&revoke), MANAGEMENT);
    auth.disable();
    auth.user_revoke_role(&revoke).unwrap();
    auth.user_delete(&AuthUserDeleteRequest { name: root() })
        .unwrap();
}

#[tokio::test]
async fn every_change_and_nothing_else_counts_in_the_revision() {
    let fixture = Fixture::new();
    let auth = &fixture.auth;
    let revisions = std::cell::Cell::new(auth.revision());
    let counts = |by: u64| {
        assert_eq!(auth.revision(), revisions.get() + by);
        revisions.set(auth.revision());
    };
    assert_eq!(auth.revision(), 1);
    fixture.add_user("root", "x").await;
    counts(1);
    fixture.give("root", "root");
    counts(1);
    // Once more is no change.
    fixture.give("root", "root");
    counts(0);
    auth.enable().unwrap();
    counts(0);
    let role = || "r".to_owned();
    auth.role_add(&AuthRoleAddRequest { name: role() }).unwrap();
    counts(1);
    refused(
        auth.role_add(&AuthRoleAddRequest { name: role() }),
        "etcdserver: role name already exists",
    );
    counts(0);
    // The same grant again is one, because etcd counts it so.
    fixture.grant("r", permission::Type::Read, b"a", b"");
    fixture.grant("r", permission::Type::Read, b"a", b"");
    counts(2);
    auth.role_revoke_permission(&AuthRoleRevokePermissionRequest {
        role: role(),
        key: Bytes::from_static(b"a"),
        range_end: Bytes::new(),
    })
    .unwrap();
    counts(1);
    auth.role_delete(&AuthRoleDeleteRequest { role: role() })
        .unwrap();
    counts(1);
    auth.disable();
    counts(1);
    auth.disable();
    counts(0);
}

#[tokio::test]
async fn a_reduced_right_is_reduced() {
    let fixture = Fixture::with_alice().await;
    fixture.grant("writer", permission::Type::Readwrite, b"k", b"l");
    fixture.grant("writer", permission::Type::Readwrite, b"k", b"m");
    fixture.grant("writer", permission::Type::Read, b"k", b"m");
    fixture.grant("writer", permission::Type::Read, b"k", b"l");
    let alice = fixture.who("alice");
    fixture
        .auth
        .check(&alice, Access::Read, b"k", b"m")
        .unwrap();
    refused(fixture.auth.check(&alice, Access::Write, b"k", b""), DENIED);
    let role = fixture.auth.role_get(&alice, "writer").unwrap();
    assert_eq!(role.perm.len(), 3);
}

#[tokio::test]
async fn a_deleted_role_is_taken_from_everyone() {
    let fixture = Fixture::with_alice().await;
    let auth = &fixture.auth;
    auth.role_delete(&AuthRoleDeleteRequest {
        role: "writer".to_owned(),
    })
    .unwrap();
    let root = fixture.who("root");
    assert!(auth.user_get(&root, "alice").unwrap().roles.is_empty());
    refused(
        auth.check(&fixture.who("alice"), Access::Read, b"a", b""),
        DENIED,
    );
}

#[tokio::test]
async fn who_may_see_users_and_roles() {
    let fixture = Fixture::with_alice().await;
    let (auth, root, alice) = (&fixture.auth, fixture.who("root"), fixture.who("alice"));
    assert_eq!(auth.user_list(&root).unwrap().users, ["alice", "root"]);
    assert_eq!(auth.role_list(&root).unwrap().roles, ["writer"]);
    assert_eq!(auth.user_get(&alice, "alice").unwrap().roles, ["writer"]);
    assert_eq!(auth.role_get(&alice, "writer").unwrap().perm.len(), 1);
    refused(auth.user_get(&alice, "root"), DENIED);
    refused(auth.role_get(&alice, "root"), DENIED);
    refused(auth.user_list(&alice), DENIED);
    refused(auth.role_list(&alice), DENIED);
    refused(auth.status(&alice), DENIED);
    refused(
        auth.role_get(&root, "root"),
        "etcdserver: role name not found",
    );
    refused(
        auth.user_get(&root, "bob"),
        "etcdserver: user name not found",
    );
    refused(
        auth.user_list(&AuthInfo::default()),
        "etcdserver: user name is empty",
    );
}

#[tokio::test(start_paused = true)]
async fn logging_in_gives_a_token_that_ends() {
    let fixture = Fixture::with_alice().await;
    let auth = &fixture.auth;
    let token = fixture.login("alice", "wonder", 12).await;
    assert!(token.ends_with(".12"), "{token}");
    fixture.applied.send_replace(12);
    let who = auth.recognise(&token).await.unwrap().unwrap();
    assert_eq!(who, fixture.who("alice"));
    let bearer = format!("Bearer {token}");
    assert_eq!(auth.recognise(&bearer).await.unwrap(), Some(who));

    refused(auth.check_password("alice", "wrong".into()).await, FAILED);
    refused(auth.check_password("bob", "wonder".into()).await, FAILED);
    refused(auth.recognise("no token").await, INVALID);
    refused(auth.recognise("unknown.3").await, INVALID);

    // A new password, like the end of the user, ends the tokens.
    let mut request = AuthUserChangePasswordRequest {
        name: "alice".to_owned(),
        password: "land".to_owned(),
        ..AuthUserChangePasswordRequest::default()
    };
    auth.hash_new_password(&mut request).await.unwrap();
    auth.user_change_password(&request).unwrap();
    refused(auth.recognise(&token).await, INVALID);
    refused(auth.check_password("alice", "wonder".into()).await, FAILED);
    let token = fixture.login("alice", "land", 13).await;
    fixture.applied.send_replace(13);
    assert!(auth.recognise(&token).await.unwrap().is_some());
    tokio::time::advance(Tokens::SIMPLE_TTL + Duration::from_secs(1)).await;
    refused(auth.recognise(&token).await, INVALID);
    let token = fixture.login("alice", "land", 13).await;
    auth.disable();
    assert_eq!(auth.recognise(&token).await.unwrap(), None);
    refused(
        auth.check_password("alice", "land".into()).await,
        "etcdserver: authentication is not enabled",
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_waited_for_until_its_entry_is_applied() {
    let fixture = Fixture::with_alice().await;
    let token = fixture.login("alice", "wonder", 40).await;
    let auth = &fixture.auth;
    let applied = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fixture.applied.send_replace(40);
    };
    let (who, ()) = tokio::join!(auth.recognise(&token), applied);
    assert_eq!(who.unwrap().unwrap().user, "alice");
    // But not for ever: a token can name any index.
    refused(
        auth.recognise("forged.999").await,
        "etcdserver: invalid auth token",
    );
}

#[tokio::test]
async fn a_user_without_a_password_comes_with_a_certificate_only() {
    let fixture = Fixture::with_alice().await;
    let auth = &fixture.auth;
    let mut request = AuthUserAddRequest {
        name: "robot".to_owned(),
        password: "ignored".to_owned(),
        options: Some(UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    };
    auth.hash_new_user(&mut request).await.unwrap();
    assert_eq!(request.hashed_password, "");
    auth.user_add(&request).unwrap();
    refused(
        auth.check_password("robot", String::new()).await,
        "auth: authentication failed, password was given for no password user",
    );
    refused(
        auth.authenticate("robot", "prefix", 1),
        "etcdserver: authentication failed, invalid user ID or password",
    );
    assert_eq!(
        auth.recognise_certificate("robot"),
        Some(fixture.who("robot"))
    );
    assert_eq!(auth.recognise_certificate(""), None);
    auth.disable();
    assert_eq!(auth.recognise_certificate("robot"), None);
}

#[tokio::test]
async fn a_request_without_its_parts_is_refused() {
    let fixture = Fixture::new();
    let auth = &fixture.auth;
    refused(
        auth.user_add(&AuthUserAddRequest::default()),
        "etcdserver: user name is empty",
    );
    refused(
        auth.role_add(&AuthRoleAddRequest::default()),
        "etcdserver: role name is empty",
    );
    refused(
        auth.role_grant_permission(&AuthRoleGrantPermissionRequest::default()),
        "etcdserver: permission not given",
    );
    refused(
        auth.role_grant_permission(&AuthRoleGrantPermissionRequest {
            name: "none".to_owned(),
            perm: Some(Permission::default()),
        }),
        "etcdserver: invalid auth management",
    );
    let plain = AuthUserAddRequest {
        name: "x".to_owned(),
        password: "in the clear".to_owned(),
        ..AuthUserAddRequest::default()
    };
    assert!(
        auth.user_add(&plain).is_err(),
        "each member would salt it anew"
    );
}

#[tokio::test]
async fn what_was_changed_is_there_after_a_restart() {
    let fixture = Fixture::with_alice().await;
    let again = open(&fixture.backend, &fixture.applied);
    assert!(again.is_enabled());
    assert_eq!(again.revision(), fixture.auth.revision());
    let alice = fixture.who("alice");
    again.check(&alice, Access::Write, b"a", b"c").unwrap();
    again
        .check_password("alice", "wonder".into())
        .await
        .unwrap();
    // The bytes are etcd's: field 4, the options, is there even when it is empty.
    let users = fixture.backend.entries(Bucket::AuthUsers).unwrap();
    let root = &users[&Bytes::from_static(b"root")];
    assert!(root.starts_with(b"\x0a\x04root\x12\x3c$2a$04$"), "{root:?}");
    assert!(root.ends_with(b"\x1a\x04root\x22\x00"), "{root:?}");
    let auth = fixture.backend.entries(Bucket::Auth).unwrap();
    assert_eq!(auth[&Bytes::from_static(b"authEnabled")], [1].as_slice());
    assert_eq!(auth[&Bytes::from_static(b"authRevision")].len(), 8);
}

#[tokio::test]
async fn a_damaged_entry_is_named() {
    let fixture = Fixture::new();
    let key = Bytes::from_static(b"odd");
    fixture
        .backend
        .put(Bucket::AuthUsers, key, Bytes::from_static(&[0xff]));
    let error = fixture.auth.reload().unwrap_err();
    assert!(error.is_fatal());
    let text = error.to_string();
    assert!(text.contains("authUsers") && text.contains("odd"), "{text}");
}
