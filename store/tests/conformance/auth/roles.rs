//! Roles and their rights, while auth is off.

use super::setup::*;
use crate::suite::*;
use authpb::permission::Type;

pub(crate) fn group() -> Group {
    group!(
        "auth::roles",
        [
            adding,
            adding_one_that_exists,
            adding_one_without_a_name,
            describing_an_unknown_one,
            listing,
            rights_are_sorted,
            a_right_replaces_the_one_of_its_range,
            a_right_for_an_unknown_role,
            no_right,
            a_range_that_ends_before_it_begins,
            taking_a_right,
            taking_a_right_that_was_not_given,
            deleting,
            deleting_an_unknown_one,
            deleting_takes_it_from_users,
        ]
    )
    .alone()
}

const UNKNOWN: &str = "etcdserver: role name not found";

async fn rights(case: &Case, role: &str) -> Result<Vec<authpb::Permission>, tonic::Status> {
    let ask = AuthRoleGetRequest { role: role.into() };
    Ok(case.role_get(ask).await?.perm)
}

fn add(name: &str) -> AuthRoleAddRequest {
    AuthRoleAddRequest { name: name.into() }
}

async fn adding(case: &mut Case) -> Result<()> {
    let expected = AuthRoleAddResponse {
        header: case.header(0),
    };
    assert_eq!(case.role_add(add("some")).await?, expected);
    let ask = AuthRoleGetRequest {
        role: "some".into(),
    };
    let expected = AuthRoleGetResponse {
        header: case.header(0),
        perm: vec![],
    };
    assert_eq!(case.role_get(ask).await?, expected);
    Ok(())
}

async fn adding_one_that_exists(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    refused(
        case.role_add(add("some")).await,
        Code::FailedPrecondition,
        "etcdserver: role name already exists",
    )
}

async fn adding_one_without_a_name(case: &mut Case) -> Result<()> {
    refused(
        case.role_add(add("")).await,
        Code::InvalidArgument,
        "etcdserver: role name is empty",
    )
}

async fn describing_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        rights(case, "none").await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn listing(case: &mut Case) -> Result<()> {
    for name in ["c", "a", "b"] {
        role(case, name).await?;
    }
    let expected = AuthRoleListResponse {
        header: case.header(0),
        roles: ["a", "b", "c"].map(String::from).to_vec(),
    };
    assert_eq!(case.role_list(AuthRoleListRequest {}).await?, expected);
    Ok(())
}

async fn rights_are_sorted(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    allow(case, "some", Type::Write, "m", b"").await?;
    allow(case, "some", Type::Read, "a", b"c").await?;
    allow(case, "some", Type::Readwrite, "z", b"\0").await?;
    let expected = [
        right(Type::Read, "a", b"c"),
        right(Type::Write, "m", b""),
        right(Type::Readwrite, "z", b"\0"),
    ];
    assert_eq!(rights(case, "some").await?, expected);
    Ok(())
}

async fn a_right_replaces_the_one_of_its_range(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    allow(case, "some", Type::Read, "a", b"c").await?;
    allow(case, "some", Type::Write, "a", b"c").await?;
    assert_eq!(rights(case, "some").await?, [right(Type::Write, "a", b"c")]);
    Ok(())
}

async fn a_right_for_an_unknown_role(case: &mut Case) -> Result<()> {
    let ask = AuthRoleGrantPermissionRequest {
        name: "none".into(),
        perm: Some(right(Type::Read, "a", b"")),
    };
    refused(
        case.role_grant_permission(ask).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn no_right(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    let ask = AuthRoleGrantPermissionRequest {
        name: "some".into(),
        perm: None,
    };
    refused(
        case.role_grant_permission(ask).await,
        Code::InvalidArgument,
        "etcdserver: permission not given",
    )
}

async fn a_range_that_ends_before_it_begins(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    let ask = AuthRoleGrantPermissionRequest {
        name: "some".into(),
        perm: Some(right(Type::Read, "b", b"a")),
    };
    let outcome = case.role_grant_permission(ask).await;
    if case.is_etcd_before(25) {
        // Older ones take it.
        return Ok(());
    }
    refused(
        outcome,
        Code::InvalidArgument,
        "etcdserver: invalid auth management",
    )
}

fn taking(role: &str, key: &str, range_end: &str) -> AuthRoleRevokePermissionRequest {
    AuthRoleRevokePermissionRequest {
        role: role.into(),
        key: bytes(key),
        range_end: bytes(range_end),
    }
}

async fn taking_a_right(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    allow(case, "some", Type::Read, "a", b"c").await?;
    allow(case, "some", Type::Read, "a", b"").await?;
    let expected = AuthRoleRevokePermissionResponse {
        header: case.header(0),
    };
    let answer = case
        .role_revoke_permission(taking("some", "a", "c"))
        .await?;
    assert_eq!(answer, expected);
    assert_eq!(rights(case, "some").await?, [right(Type::Read, "a", b"")]);
    Ok(())
}

async fn taking_a_right_that_was_not_given(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    refused(
        case.role_revoke_permission(taking("some", "a", "")).await,
        Code::FailedPrecondition,
        "etcdserver: permission is not granted to the role",
    )?;
    refused(
        case.role_revoke_permission(taking("none", "a", "")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

fn deleting_of(role: &str) -> AuthRoleDeleteRequest {
    AuthRoleDeleteRequest { role: role.into() }
}

async fn deleting(case: &mut Case) -> Result<()> {
    role(case, "some").await?;
    let expected = AuthRoleDeleteResponse {
        header: case.header(0),
    };
    assert_eq!(case.role_delete(deleting_of("some")).await?, expected);
    refused(
        rights(case, "some").await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn deleting_an_unknown_one(case: &mut Case) -> Result<()> {
    refused(
        case.role_delete(deleting_of("none")).await,
        Code::FailedPrecondition,
        UNKNOWN,
    )
}

async fn deleting_takes_it_from_users(case: &mut Case) -> Result<()> {
    for name in ["a", "b"] {
        role(case, name).await?;
    }
    user(case, "alice").await?;
    give(case, "alice", "a").await?;
    give(case, "alice", "b").await?;
    case.role_delete(deleting_of("a")).await?;
    let ask = AuthUserGetRequest {
        name: "alice".into(),
    };
    assert_eq!(case.user_get(ask).await?.roles, ["b"]);
    Ok(())
}
