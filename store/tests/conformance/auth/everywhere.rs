//! That no call is forgotten.

use super::setup::*;
use crate::suite::*;
use revkeep_schemas::etcd_api::etcdserverpb::lease_client::LeaseClient;
use revkeep_schemas::etcd_api::etcdserverpb::maintenance_client::MaintenanceClient;
use revkeep_schemas::etcd_api::v3electionpb::election_client::ElectionClient;
use revkeep_schemas::etcd_api::v3electionpb::*;
use revkeep_schemas::etcd_api::v3lockpb::*;
use serde_json::json;

pub(crate) fn group() -> Group {
    group!(
        "auth::everywhere",
        [
            without_a_token,
            maintenance_without_a_token,
            changes_without_a_token,
            locks,
            elections,
            following_an_election,
            as_json,
        ]
    )
    .alone()
}

const EMPTY: &str = "etcdserver: user name is empty";

fn nobody<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>) -> Result<()> {
    refused(outcome, Code::InvalidArgument, EMPTY)
}

async fn without_a_token(case: &mut Case) -> Result<()> {
    enable(case).await?;
    nobody(case.range(get("k")).await)?;
    nobody(case.put(put("k", "")).await)?;
    nobody(case.delete_range(delete("k")).await)?;
    nobody(case.txn(txn([get("k").op()])).await)?;
    nobody(case.txn(txn([put("k", "").op()])).await)?;
    if case.is_etcd_before(28) {
        // Older ones let everybody do the rest.
        return Ok(());
    }
    nobody(case.compact(CompactionRequest::default()).await)?;
    nobody(case.lease_grant(LeaseGrantRequest { ttl: 60, id: 1 }).await)?;
    nobody(case.lease_revoke(LeaseRevokeRequest { id: 1 }).await)?;
    for keys in [false, true] {
        let ask = LeaseTimeToLiveRequest { id: 1, keys };
        nobody(case.lease_time_to_live(ask).await)?;
    }
    nobody(case.lease_leases(LeaseLeasesRequest {}).await)?;
    let mut leases = LeaseClient::with_interceptor(case.channel.clone(), case.with.clone());
    let ask = tokio_stream::iter([LeaseKeepAliveRequest { id: 1 }]);
    let renewed = match leases.lease_keep_alive(ask).await {
        Ok(stream) => stream.into_inner().message().await,
        Err(status) => Err(status),
    };
    nobody(renewed)?;
    nobody(case.member_list(MemberListRequest::default()).await)
}

/// Of these some are refused before gRPC gives them a code.
fn bare<T: std::fmt::Debug>(outcome: Result<T, tonic::Status>, text: &str) -> Result<()> {
    refused(outcome, Code::Unknown, text)
}

async fn snapshot(case: &Case) -> Result<Option<SnapshotResponse>, tonic::Status> {
    let mut client = MaintenanceClient::with_interceptor(case.channel.clone(), case.with.clone());
    let stream = client.snapshot(SnapshotRequest {}).await?;
    stream.into_inner().message().await
}

async fn maintenance_without_a_token(case: &mut Case) -> Result<()> {
    const NOBODY: &str = "auth: user name is empty";
    let (root, alice) = enable_with_alice(case).await?;
    bare(snapshot(case).await, NOBODY)?;
    bare(snapshot(&alice).await, "auth: permission denied")?;
    assert!(snapshot(&root).await?.is_some());
    bare(case.defragment(DefragmentRequest {}).await, NOBODY)?;
    bare(case.hash(HashRequest {}).await, NOBODY)?;
    bare(case.hash_kv(HashKvRequest { revision: 0 }).await, NOBODY)?;
    if case.is_etcd_before(28) {
        return Ok(());
    }
    nobody(case.status(StatusRequest {}).await)?;
    nobody(case.alarm(AlarmRequest::default()).await)?;
    nobody(
        case.move_leader(MoveLeaderRequest {
            target_id: case.member_id(),
        })
        .await,
    )?;
    let raise = || AlarmRequest {
        action: alarm_request::AlarmAction::Activate.into(),
        member_id: case.member_id(),
        alarm: AlarmType::Nospace.into(),
    };
    nobody(case.alarm(raise()).await)?;
    refused(alice.alarm(raise()).await, Code::PermissionDenied, DENIED)?;
    let downgrade = || DowngradeRequest {
        version: "3.4.0".into(),
        ..DowngradeRequest::default()
    };
    nobody(case.downgrade(downgrade()).await)?;
    refused(
        alice.downgrade(downgrade()).await,
        Code::PermissionDenied,
        DENIED,
    )
}

async fn changes_without_a_token(case: &mut Case) -> Result<()> {
    enable(case).await?;
    let name = || "x".to_owned();
    nobody(case.auth_status(AuthStatusRequest {}).await)?;
    nobody(case.auth_disable(AuthDisableRequest {}).await)?;
    nobody(case.user_list(AuthUserListRequest {}).await)?;
    nobody(
        case.user_get(AuthUserGetRequest {
            name: "root".into(),
        })
        .await,
    )?;
    nobody(case.role_list(AuthRoleListRequest {}).await)?;
    nobody(
        case.role_get(AuthRoleGetRequest {
            role: "root".into(),
        })
        .await,
    )?;
    nobody(
        case.user_add(AuthUserAddRequest {
            name: name(),
            password: "p".into(),
            ..AuthUserAddRequest::default()
        })
        .await,
    )?;
    nobody(
        case.user_change_password(AuthUserChangePasswordRequest {
            name: "root".into(),
            password: "p".into(),
            ..AuthUserChangePasswordRequest::default()
        })
        .await,
    )?;
    nobody(
        case.user_delete(AuthUserDeleteRequest { name: name() })
            .await,
    )?;
    nobody(case.role_add(AuthRoleAddRequest { name: name() }).await)?;
    nobody(
        case.role_delete(AuthRoleDeleteRequest { role: name() })
            .await,
    )?;
    let add = MemberAddRequest {
        peer_ur_ls: vec!["http://127.0.0.1:1".into()],
        is_learner: true,
    };
    nobody(case.member_add(add).await)?;
    nobody(case.member_remove(MemberRemoveRequest { id: 1 }).await)?;
    nobody(
        case.member_update(MemberUpdateRequest {
            id: 1,
            peer_ur_ls: vec!["http://127.0.0.1:1".into()],
        })
        .await,
    )?;
    nobody(case.member_promote(MemberPromoteRequest { id: 1 }).await)
}

async fn locks(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let take = |name: &str, lease| LockRequest {
        name: bytes(name),
        lease,
    };
    for lease in 1..=2 {
        root.lease_grant(LeaseGrantRequest {
            ttl: 600,
            id: lease,
        })
        .await?;
    }
    bare(case.lock(take("b", 1)).await, EMPTY)?;
    if !case.is_etcd_before(28) {
        // Not even the lease is made.
        bare(case.lock(take("b", 0)).await, EMPTY)?;
    }
    bare(alice.lock(take("k", 1)).await, DENIED)?;
    // What is only written cannot be waited for.
    bare(alice.lock(take("w", 1)).await, DENIED)?;
    let own = alice.lock(take("b", 1)).await?.key;
    let held = root.lock(take("k", 2)).await?.key;
    let free = |key: &bytes::Bytes| UnlockRequest { key: key.clone() };
    bare(alice.unlock(free(&held)).await, DENIED)?;
    bare(case.unlock(free(&own)).await, EMPTY)?;
    assert_eq!(root.range(all()).await?.count, 2);
    alice.unlock(free(&own)).await?;
    Ok(())
}

async fn elections(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    root.lease_grant(LeaseGrantRequest { ttl: 600, id: 1 })
        .await?;
    let stand = |name: &str| CampaignRequest {
        name: bytes(name),
        lease: 1,
        value: bytes("me"),
    };
    bare(case.campaign(stand("b")).await, EMPTY)?;
    bare(alice.campaign(stand("k")).await, DENIED)?;
    let leader = root.campaign(stand("k")).await?.leader;
    let who = || LeaderRequest { name: bytes("k") };
    bare(case.leader(who()).await, EMPTY)?;
    bare(alice.leader(who()).await, DENIED)?;
    let say = || ProclaimRequest {
        leader: leader.clone(),
        value: bytes("another"),
    };
    bare(case.proclaim(say()).await, EMPTY)?;
    bare(alice.proclaim(say()).await, DENIED)?;
    let give_up = || ResignRequest {
        leader: leader.clone(),
    };
    bare(case.resign(give_up()).await, EMPTY)?;
    bare(alice.resign(give_up()).await, DENIED)?;
    assert_eq!(root.leader(who()).await?.kv.context("nobody")?.value, "me");
    root.resign(give_up()).await?;
    Ok(())
}

async fn following_an_election(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    for (who, refusal) in [(&*case, EMPTY), (&alice, DENIED)] {
        let mut client = ElectionClient::with_interceptor(who.channel.clone(), who.with.clone());
        let ask = LeaderRequest { name: bytes("k") };
        let told = match client.observe(ask).await {
            Ok(stream) => stream.into_inner().message().await,
            Err(status) => Err(status),
        };
        if case.version.is_store() {
            bare(told, refusal)?;
        } else {
            // etcd ends the stream without a word.
            assert_eq!(told?, None);
        }
    }
    Ok(())
}

async fn as_json(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    // "k" in base64.
    let key = json!({"key": "aw=="});
    for (path, body) in [
        ("/v3/kv/range", &key),
        ("/v3/kv/put", &key),
        ("/v3/kv/deleterange", &key),
        ("/v3/kv/txn", &json!({"success": [{"request_range": key}]})),
        ("/v3/auth/user/list", &json!({})),
        ("/v3/cluster/member/remove", &json!({"ID": "1"})),
    ] {
        let ask = body.to_string();
        let answer = http(case, "POST", path, &ask).await?;
        assert_eq!(
            (answer.status, &answer.json()?["message"]),
            (400, &json!(EMPTY)),
            "{path}"
        );
        let answer = http(&alice, "POST", path, &ask).await?;
        assert_eq!(
            (answer.status, &answer.json()?["message"]),
            (403, &json!(DENIED)),
            "{path}"
        );
    }
    let watch = json!({"create_request": key}).to_string();
    let lines = http_lines(case, "/v3/watch", &watch, 1).await?;
    let answer = &lines[0]["result"];
    assert_eq!(
        (&answer["created"], &answer["canceled"]),
        (&json!(true), &json!(true))
    );
    if !case.is_etcd_before(17) {
        let reason = format!("rpc error: code = InvalidArgument desc = {EMPTY}");
        assert_eq!(answer["cancel_reason"], reason);
    }
    Ok(())
}
