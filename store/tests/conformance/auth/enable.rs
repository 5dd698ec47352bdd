//! Turning auth on and off.

use super::setup::*;
use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "auth::enable",
        [
            without_root,
            without_the_role,
            on,
            on_twice,
            off,
            off_when_it_is_off,
            authenticating_when_it_is_off,
            a_token_when_it_is_off,
            root_is_not_deleted,
            roots_role_is_not_deleted,
            roots_role_is_not_taken,
            it_lasts_over_a_restart,
        ]
    )
    .alone()
}

async fn on_request(case: &Case) -> Result<AuthEnableResponse, tonic::Status> {
    case.auth_enable(AuthEnableRequest {}).await
}

async fn without_root(case: &mut Case) -> Result<()> {
    refused(
        on_request(case).await,
        Code::FailedPrecondition,
        "etcdserver: root user does not exist",
    )
}

async fn without_the_role(case: &mut Case) -> Result<()> {
    user(case, "root").await?;
    refused(
        on_request(case).await,
        Code::FailedPrecondition,
        "etcdserver: root user does not have root role",
    )
}

async fn on(case: &mut Case) -> Result<()> {
    user(case, "root").await?;
    role(case, "root").await?;
    give(case, "root", "root").await?;
    let expected = AuthEnableResponse {
        header: case.header(0),
    };
    assert_eq!(on_request(case).await?, expected);
    let root = login(case, "root").await?;
    let expected = AuthStatusResponse {
        header: case.header(0),
        enabled: true,
        auth_revision: 4,
    };
    assert_eq!(root.auth_status(AuthStatusRequest {}).await?, expected);
    Ok(())
}

async fn on_twice(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    on_request(&root).await?;
    Ok(())
}

async fn off(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    assert!(case.put(put("k", "")).await.is_err());
    let expected = AuthDisableResponse {
        header: case.header(0),
    };
    assert_eq!(root.auth_disable(AuthDisableRequest {}).await?, expected);
    case.put(put("k", "")).await?;
    Ok(())
}

async fn off_when_it_is_off(case: &mut Case) -> Result<()> {
    case.auth_disable(AuthDisableRequest {}).await?;
    Ok(())
}

async fn authenticating_when_it_is_off(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    refused(
        case.authenticate(credentials("alice", "pass")).await,
        Code::FailedPrecondition,
        "etcdserver: authentication is not enabled",
    )
}

async fn a_token_when_it_is_off(case: &mut Case) -> Result<()> {
    let outcome = case.with("token", "anything.1")?.put(put("k", "")).await;
    if case.is_etcd_before(5) {
        // Older ones look at it all the same.
        return refused(
            outcome,
            Code::Unauthenticated,
            "etcdserver: invalid auth token",
        );
    }
    outcome?;
    Ok(())
}

const KEPT: &str = "etcdserver: invalid auth management";

async fn root_is_not_deleted(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let ask = AuthUserDeleteRequest {
        name: "root".into(),
    };
    refused(root.user_delete(ask).await, Code::InvalidArgument, KEPT)
}

async fn roots_role_is_not_deleted(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let ask = AuthRoleDeleteRequest {
        role: "root".into(),
    };
    refused(root.role_delete(ask).await, Code::InvalidArgument, KEPT)
}

async fn roots_role_is_not_taken(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let ask = AuthUserRevokeRoleRequest {
        name: "root".into(),
        role: "root".into(),
    };
    refused(
        root.user_revoke_role(ask).await,
        Code::InvalidArgument,
        KEPT,
    )
}

async fn it_lasts_over_a_restart(case: &mut Case) -> Result<()> {
    enable_with_alice(case).await?;
    case.members_mut()?[0].restart().await?;
    let case = case.at(0).await?;
    refused(
        case.put(put("k", "")).await,
        Code::InvalidArgument,
        "etcdserver: user name is empty",
    )?;
    let alice = login(&case, "alice").await?;
    alice.put(put("w", "")).await?;
    refused(
        alice.put(put("k", "")).await,
        Code::PermissionDenied,
        DENIED,
    )
}
