//! Users, while auth is off.

use super::setup::*;
use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "auth::users",
        [
            none,
            adding,
            adding_one_that_exists,
            adding_one_without_a_name,
            adding_one_without_a_password,
            describing,
            describing_an_unknown_one,
            listing,
            deleting,
            deleting_an_unknown_one,
            changing_a_password,
            changing_the_password_of_an_unknown_one,
            giving_a_role,
            giving_an_unknown_role,
            giving_to_an_unknown_user,
            giving_a_role_twice,
            taking_a_role,
            taking_a_role_that_was_not_given,
            taking_from_an_unknown_user,
            every_change_counts,
        ]
    )
    .alone()
}

const UNKNOWN: &str = "etcdserver: user name not found";

fn named(name: &str) -> AuthUserGetRequest {
    AuthUserGetRequest { name: name.into() }
}

async fn none(case: &mut Case) -> Result<()> {
    let expected = AuthUserListResponse {
        header: case.header(0),
        users: vec![],
    };
    assert_eq!(case.user_list(AuthUserListRequest {}).await?, expected);
    Ok(())
}

async fn adding(case: &mut Case) -> Result<()> {
    let ask = AuthUserAddRequest {
        name: "alice".into(),
        password: "pass".into(),
        ..AuthUserAddRequest::default()
    };
    let expected = AuthUserAddResponse {
        header: case.header(0),
    };
    assert_eq!(case.user_add(ask).await?, expected);
    case.made(0).await
}

async fn adding_one_that_exists(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    let ask = AuthUserAddRequest {
        name: "alice".into(),
        password: "other".into(),
        ..AuthUserAddRequest::default()
    };
    refused(
        case.user_add(ask).await,
        Code::FailedPrecondition,
        "etcdserver: user name already exists",
    )
}

async fn adding_one_without_a_name(case: &mut Case) -> Result<()> {
    let ask = AuthUserAddRequest {
        password: "pass".into(),
        ..AuthUserAddRequest::default()
    };
    refused(
        case.user_add(ask).await,
        Code::InvalidArgument,
        "etcdserver: user name is empty",
    )
}

async fn adding_one_without_a_password(case: &mut Case) -> Result<()> {
    let ask = AuthUserAddRequest {
        name: "alice".into(),
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    };
    case.user_add(ask).await?;
    enable(case).await?;
    // Nobody can log in as such a user with a password.
    refused(
        case.authenticate(credentials("alice", "pass")).await,
        Code::Unknown,
        "auth: authentication failed, password was given for no password user",
    )
}

async fn describing(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    for name in ["b", "a"] {
        role(case, name).await?;
        give(case, "alice", name).await?;
    }
    let expected = AuthUserGetResponse {
        header: case.header(0),
        roles: vec!["a".into(), "b".into()],
    };
    assert_eq!(case.user_get(named("alice")).await?, expected);
    Ok(())
}

async fn describing_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        case.user_get(named("nobody")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn listing(case: &mut Case) -> Result<()> {
    for name in ["carol", "alice", "bob"] {
        user(case, name).await?;
    }
    let answer = case.user_list(AuthUserListRequest {}).await?;
    assert_eq!(answer.users, ["alice", "bob", "carol"]);
    Ok(())
}

fn deleting_of(name: &str) -> AuthUserDeleteRequest {
    AuthUserDeleteRequest { name: name.into() }
}

async fn deleting(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    let expected = AuthUserDeleteResponse {
        header: case.header(0),
    };
    assert_eq!(case.user_delete(deleting_of("alice")).await?, expected);
    refused(
        case.user_get(named("alice")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn deleting_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        case.user_delete(deleting_of("nobody")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

fn password(name: &str, password: &str) -> AuthUserChangePasswordRequest {
    AuthUserChangePasswordRequest {
        name: name.into(),
        password: password.into(),
        ..AuthUserChangePasswordRequest::default()
    }
}

async fn changing_a_password(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    case.user_change_password(password("alice", "new")).await?;
    enable(case).await?;
    case.authenticate(credentials("alice", "new")).await?;
    refused(
        case.authenticate(credentials("alice", "pass")).await,
        Code::InvalidArgument,
        "etcdserver: authentication failed, invalid user ID or password",
    )
}

async fn changing_the_password_of_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        case.user_change_password(password("nobody", "new")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

fn giving(user: &str, role: &str) -> AuthUserGrantRoleRequest {
    AuthUserGrantRoleRequest {
        user: user.into(),
        role: role.into(),
    }
}

async fn giving_a_role(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    role(case, "some").await?;
    let expected = AuthUserGrantRoleResponse {
        header: case.header(0),
    };
    let answer = case.user_grant_role(giving("alice", "some")).await?;
    assert_eq!(answer, expected);
    Ok(())
}

async fn giving_an_unknown_role(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    refused(
        case.user_grant_role(giving("alice", "none")).await,
        Code::FailedPrecondition,
        "etcdserver: role name not found",
    )
}

async fn giving_to_an_unknown_user(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    refused(
        case.user_grant_role(giving("nobody", "some")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn giving_a_role_twice(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    role(case, "some").await?;
    give(case, "alice", "some").await?;
    give(case, "alice", "some").await?;
    assert_eq!(case.user_get(named("alice")).await?.roles, ["some"]);
    Ok(())
}

fn taking(user: &str, role: &str) -> AuthUserRevokeRoleRequest {
    AuthUserRevokeRoleRequest {
        name: user.into(),
        role: role.into(),
    }
}

async fn taking_a_role(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    role(case, "some").await?;
    give(case, "alice", "some").await?;
    let expected = AuthUserRevokeRoleResponse {
        header: case.header(0),
    };
    let answer = case.user_revoke_role(taking("alice", "some")).await?;
    assert_eq!(answer, expected);
    assert_eq!(case.user_get(named("alice")).await?.roles, [""; 0]);
    Ok(())
}

async fn taking_a_role_that_was_not_given(case: &mut Case) -> Result<()> {
    user(case, "alice").await?;
    role(case, "some").await?;
    refused(
        case.user_revoke_role(taking("alice", "some")).await,
        Code::FailedPrecondition,
        "etcdserver: role is not granted to the user",
    )
}

async fn taking_from_an_unknown_user(case: &mut Case) -> Result<()> {
    refused(
        case.user_revoke_role(taking("nobody", "some")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn every_change_counts(case: &mut Case) -> Result<()> {
    let count = async || case.auth_status(AuthStatusRequest {}).await;
    let expected = AuthStatusResponse {
        header: case.header(0),
        enabled: false,
        auth_revision: 1,
    };
    assert_eq!(count().await?, expected);
    user(case, "alice").await?;
    role(case, "some").await?;
    give(case, "alice", "some").await?;
    assert_eq!(count().await?.auth_revision, 4);
    case.user_revoke_role(taking("alice", "some")).await?;
    case.user_delete(deleting_of("alice")).await?;
    assert_eq!(count().await?.auth_revision, 6);
    assert!(case.user_delete(deleting_of("alice")).await.is_err());
    assert_eq!(count().await?.auth_revision, 6);
    Ok(())
}
