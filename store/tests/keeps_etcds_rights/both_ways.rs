//! A database with users goes from etcd to the store and back.

use bytes::Bytes;
use revkeep_harness::{Etcd, EtcdOptions, etcd_series};
use revkeep_schemas::{
    etcd_api::{
        authpb::{Permission, permission},
        etcdserverpb::{
            AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest,
            AuthUserAddRequest, AuthUserGrantRoleRequest, PutRequest, auth_client::AuthClient,
            kv_client::KvClient,
        },
    },
    store_api::proposal::Command,
};
use revkeep_store::{auth::Access, raft::StateMachine as _};
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::{
    commands::password,
    pair::{Member, Pair, etcd_said, store_said, with_token},
};

fn user_add(name: &str) -> Command {
    Command::AuthUserAdd(AuthUserAddRequest {
        name: name.to_owned(),
        password: password(name),
        ..AuthUserAddRequest::default()
    })
}

fn grant_role(user: &str, role: &str) -> Command {
    Command::AuthUserGrantRole(AuthUserGrantRoleRequest {
        user: user.to_owned(),
        role: role.to_owned(),
    })
}

#[tokio::test]
async fn users_survive_the_way_from_etcd_and_back() {
    let Some(version) = etcd_series(3, 5) else {
        return;
    };
    let mut pair = Pair::start(&version).await;
    for command in [
        user_add("root"),
        user_add("alice"),
        grant_role("root", "root"),
        Command::AuthRoleAdd(AuthRoleAddRequest {
            name: "reader".to_owned(),
        }),
        Command::AuthRoleGrantPermission(AuthRoleGrantPermissionRequest {
            name: "reader".to_owned(),
            perm: Some(Permission {
                perm_type: permission::Type::Readwrite.into(),
                key: Bytes::from_static(b"k"),
                range_end: Bytes::from_static(b"l"),
            }),
        }),
        grant_role("alice", "reader"),
        Command::AuthEnable(AuthEnableRequest {}),
    ] {
        pair.command(command).await;
    }
    pair.etcd.stop().await.unwrap();

    // From etcd's own file.
    let mut member = Member::new();
    let mvcc = &member.applier.shared().mvcc;
    mvcc.install(&pair.etcd.db_file(), None).unwrap();
    let auth = member.applier.shared().auth.clone();
    auth.reload().unwrap();
    member.resume();
    assert!(auth.is_enabled());
    let alice = member.login("alice", &password("alice")).await.unwrap();
    auth.check(&alice, Access::Write, b"k", b"").unwrap();
    let denied = store_said(auth.check(&alice, Access::Write, b"m", b"")).unwrap_err();
    member.login("root", "wrong").await.unwrap_err();

    // The store makes one more user, and etcd takes it all back.
    let Command::AuthUserAdd(mut bob) = user_add("bob") else {
        unreachable!()
    };
    auth.hash_new_user(&mut bob).await.unwrap();
    member
        .apply(auth.internal(), Command::AuthUserAdd(bob))
        .unwrap();
    member
        .apply(auth.internal(), grant_role("bob", "reader"))
        .unwrap();
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("restored");
    let file = member.applier.snapshot().unwrap();
    let tool = pair.etcd.tool();
    tool.snapshot_restore(&file.path, &data_dir, &["--skip-hash-check"])
        .await
        .unwrap();
    let options = EtcdOptions::booting(&data_dir);
    let mut etcd = Etcd::start_with(&version, options).await.unwrap();
    let channel = Channel::from_shared(etcd.endpoint()).unwrap();
    let channel = channel.connect().await.unwrap();
    pair.client = AuthClient::new(channel.clone());
    let mut kv = KvClient::new(channel);
    for user in ["alice", "bob", "root"] {
        let token = pair.login(user, &password(user)).await.unwrap();
        let put = |key| PutRequest {
            key: Bytes::from_static(key),
            ..PutRequest::default()
        };
        let inside = kv.put(with_token(put(b"k"), Some(&token))).await;
        etcd_said(inside).unwrap();
        let outside = etcd_said(kv.put(with_token(put(b"m"), Some(&token))).await);
        if user == "root" {
            outside.unwrap();
        } else {
            assert_eq!(outside.unwrap_err(), denied);
        }
    }
    etcd.stop().await.unwrap();
}
