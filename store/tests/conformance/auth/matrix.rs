//! Who may call what.

use super::setup::*;
use crate::suite::*;
use authpb::permission::Type;

pub(crate) fn group() -> Group {
    group!(
        "auth::matrix",
        [
            reading,
            writing,
            deleting,
            the_previous_needs_the_right_to_read,
            transactions,
            watching,
            ranges_beyond_the_right,
            rights_that_meet,
            one_key,
            from_a_key,
            the_root_role_for_another_user,
            management_is_for_root,
            maintenance,
            leases,
            one_may_ask_for_oneself,
            member_changes_are_for_root,
            compaction_is_for_root,
        ]
    )
    .alone()
}

fn denied<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) -> Result<()> {
    refused(outcome, Code::PermissionDenied, DENIED)
}

async fn reading(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    for key in ["r", "r1", "b", "bz"] {
        alice.range(get(key)).await.context(key)?;
    }
    for key in ["w", "k", "s", "c"] {
        denied(alice.range(get(key)).await).context(key)?;
        let local = RangeRequest {
            serializable: true,
            ..get(key)
        };
        denied(alice.range(local).await).context(key)?;
    }
    Ok(())
}

async fn writing(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    for key in ["w", "w1", "b", "bz"] {
        alice.put(put(key, "")).await.context(key)?;
    }
    for key in ["r", "k", "x", "c"] {
        denied(alice.put(put(key, "")).await).context(key)?;
    }
    Ok(())
}

async fn deleting(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    alice.delete_range(delete("w")).await?;
    alice.delete_range(delete("w").range("x")).await?;
    denied(alice.delete_range(delete("r")).await)?;
    denied(alice.delete_range(delete("w").range("y")).await)?;
    denied(alice.delete_range(delete("w").range(b"\0")).await)
}

async fn the_previous_needs_the_right_to_read(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    let previous = |key| PutRequest {
        prev_kv: true,
        ..put(key, "")
    };
    alice.put(previous("b")).await?;
    denied(alice.put(previous("w")).await)?;
    let ask = DeleteRangeRequest {
        prev_kv: true,
        ..delete("w")
    };
    denied(alice.delete_range(ask).await)
}

async fn transactions(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    alice
        .txn(txn_if([exists("r")], [put("w", "").op()], [get("b").op()]))
        .await?;
    denied(alice.txn(txn_if([exists("w")], [], [])).await)?;
    denied(alice.txn(txn([put("w", "").op(), put("k", "").op()])).await)?;
    // The branch that is not taken counts too.
    denied(
        alice
            .txn(txn_if([exists("r")], [put("k", "").op()], []))
            .await,
    )?;
    denied(alice.txn(txn([get("k").op()])).await)?;
    if case.is_etcd_before(5) {
        // Older ones do not look into inner transactions.
        return Ok(());
    }
    denied(alice.txn(txn([txn([put("k", "").op()]).op()])).await)?;
    assert_eq!(root.range(get("k")).await?.count, 0);
    Ok(())
}

async fn watching(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    let mut stream = WatchStream::watching(&alice, watch("r").range("s")).await?;
    for beyond in [watch("w"), watch("r").range("t"), watch(b"\0").range(b"\0")] {
        stream.ask_create(beyond).await?;
        let answer = stream.next().await?;
        assert!(answer.canceled && answer.created, "{answer:?}");
        if !case.is_etcd_before(17) {
            assert_eq!(answer.watch_id, -1);
        }
        assert!(answer.cancel_reason.contains(DENIED), "{answer:?}");
    }
    Ok(())
}

async fn ranges_beyond_the_right(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    alice.range(get("r").range("s")).await?;
    alice.range(get("r1").range("r2")).await?;
    denied(alice.range(get("r").range("t")).await)?;
    denied(alice.range(get("q").range("s")).await)?;
    denied(alice.range(get("r").range(b"\0")).await)?;
    denied(alice.range(all()).await)
}

async fn rights_that_meet(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    role(&root, "more").await?;
    allow(&root, "more", Type::Read, "s", b"u").await?;
    give(&root, "alice", "more").await?;
    // Two rights side by side are one.
    alice.range(get("r").range("u")).await?;
    denied(alice.range(get("r").range("v")).await)
}

async fn one_key(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    allow(&root, "some", Type::Read, "one", b"").await?;
    alice.range(get("one")).await?;
    denied(alice.range(get("one1")).await)?;
    denied(alice.range(get("one").range("ono")).await)
}

async fn from_a_key(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    allow(&root, "some", Type::Read, "t", b"\0").await?;
    alice.range(get("t").range(b"\0")).await?;
    alice.range(get("zzz").range(b"\0")).await?;
    alice.range(get("u").range("v")).await?;
    denied(alice.range(all()).await)
}

async fn the_root_role_for_another_user(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    give(&root, "alice", "root").await?;
    alice.range(all()).await?;
    alice.put(put("anything", "")).await?;
    alice.user_list(AuthUserListRequest {}).await?;
    Ok(())
}

async fn management_is_for_root(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let name = || "alice".to_owned();
    denied(alice.auth_disable(AuthDisableRequest {}).await)?;
    denied(
        alice
            .user_add(AuthUserAddRequest {
                name: "bob".into(),
                password: "p".into(),
                ..AuthUserAddRequest::default()
            })
            .await,
    )?;
    denied(alice.user_list(AuthUserListRequest {}).await)?;
    denied(
        alice
            .user_get(AuthUserGetRequest {
                name: "root".into(),
            })
            .await,
    )?;
    denied(
        alice
            .user_delete(AuthUserDeleteRequest { name: name() })
            .await,
    )?;
    denied(
        alice
            .user_change_password(AuthUserChangePasswordRequest {
                name: name(),
                password: "p".into(),
                ..AuthUserChangePasswordRequest::default()
            })
            .await,
    )?;
    denied(
        alice
            .user_grant_role(AuthUserGrantRoleRequest {
                user: name(),
                role: "root".into(),
            })
            .await,
    )?;
    denied(
        alice
            .user_revoke_role(AuthUserRevokeRoleRequest {
                name: name(),
                role: "some".into(),
            })
            .await,
    )?;
    denied(
        alice
            .role_add(AuthRoleAddRequest { name: "r".into() })
            .await,
    )?;
    denied(alice.role_list(AuthRoleListRequest {}).await)?;
    denied(
        alice
            .role_get(AuthRoleGetRequest {
                role: "root".into(),
            })
            .await,
    )?;
    denied(
        alice
            .role_delete(AuthRoleDeleteRequest {
                role: "some".into(),
            })
            .await,
    )?;
    denied(
        alice
            .role_grant_permission(AuthRoleGrantPermissionRequest {
                name: "some".into(),
                perm: Some(right(Type::Readwrite, "", b"\0")),
            })
            .await,
    )?;
    denied(
        alice
            .role_revoke_permission(AuthRoleRevokePermissionRequest {
                role: "some".into(),
                key: bytes("r"),
                range_end: bytes("s"),
            })
            .await,
    )?;
    let users = root.user_list(AuthUserListRequest {}).await?.users;
    assert_eq!(users, ["alice", "root"]);
    Ok(())
}

/// Maintenance passes its refusal on without a code of gRPC.
fn bare<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) -> Result<()> {
    refused(outcome, Code::Unknown, "auth: permission denied")
}

async fn maintenance(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    bare(alice.defragment(DefragmentRequest {}).await)?;
    bare(alice.hash(HashRequest {}).await)?;
    bare(alice.hash_kv(HashKvRequest { revision: 0 }).await)?;
    if !case.is_etcd_before(20) {
        let ask = MoveLeaderRequest {
            target_id: case.member_id(),
        };
        denied(alice.move_leader(ask).await)?;
    }
    root.defragment(DefragmentRequest {}).await?;
    root.hash_kv(HashKvRequest { revision: 0 }).await?;
    // Every user may ask how a member is.
    alice.status(StatusRequest {}).await?;
    if !case.is_etcd_before(20) {
        let text = "etcdserver: user name is empty";
        refused(
            case.status(StatusRequest {}).await,
            Code::InvalidArgument,
            text,
        )?;
    }
    alice.alarm(AlarmRequest::default()).await?;
    Ok(())
}

async fn leases(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    if !case.is_etcd_before(28) {
        let text = "etcdserver: user name is empty";
        let list = case.lease_leases(LeaseLeasesRequest {}).await;
        refused(list, Code::InvalidArgument, text)?;
    }
    let grant = |id| LeaseGrantRequest { ttl: 600, id };
    alice.lease_grant(grant(1)).await?;
    root.put(PutRequest {
        lease: 1,
        ..put("k", "")
    })
    .await?;
    // A lease with a key that one may not write is not one's own to end.
    denied(alice.lease_revoke(LeaseRevokeRequest { id: 1 }).await)?;
    let keys = |keys| LeaseTimeToLiveRequest { id: 1, keys };
    if !case.is_etcd_before(16) {
        denied(alice.lease_time_to_live(keys(true)).await)?;
    }
    alice.lease_time_to_live(keys(false)).await?;
    root.lease_revoke(LeaseRevokeRequest { id: 1 }).await?;
    alice.lease_grant(grant(2)).await?;
    alice
        .put(PutRequest {
            lease: 2,
            ..put("w", "")
        })
        .await?;
    alice.lease_revoke(LeaseRevokeRequest { id: 2 }).await?;
    Ok(())
}

async fn one_may_ask_for_oneself(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    let oneself = AuthUserGetRequest {
        name: "alice".into(),
    };
    assert_eq!(alice.user_get(oneself).await?.roles, ["some"]);
    let own = AuthRoleGetRequest {
        role: "some".into(),
    };
    assert_eq!(alice.role_get(own).await?.perm.len(), 3);
    Ok(())
}

async fn member_changes_are_for_root(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let add = || MemberAddRequest {
        peer_ur_ls: vec!["http://127.0.0.1:1".into()],
        is_learner: true,
    };
    denied(alice.member_add(add()).await)?;
    denied(alice.member_remove(MemberRemoveRequest { id: 1 }).await)?;
    denied(
        alice
            .member_update(MemberUpdateRequest {
                id: 1,
                peer_ur_ls: vec!["http://127.0.0.1:2".into()],
            })
            .await,
    )?;
    denied(alice.member_promote(MemberPromoteRequest { id: 1 }).await)?;
    root.member_add(add()).await?;
    Ok(())
}

async fn compaction_is_for_root(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    alice.put(put("w", "1")).await?;
    alice.put(put("w", "2")).await?;
    let ask = CompactionRequest {
        revision: case.start + 1,
        physical: false,
    };
    let outcome = alice.compact(ask).await;
    if case.is_etcd_before(20) {
        // Older ones let everybody.
        return Ok(());
    }
    denied(outcome)?;
    root.compact(ask).await?;
    Ok(())
}
