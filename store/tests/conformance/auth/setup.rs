//! Users and roles to begin with.

use crate::suite::*;
use authpb::permission::Type;

/// What every refused call says.
pub(super) const DENIED: &str = "etcdserver: permission denied";

/// Makes a user with the password `pass`.
pub(super) async fn user(case: &Case, name: &str) -> Result<()> {
    case.user_add(AuthUserAddRequest {
        name: name.into(),
        password: "pass".into(),
        ..AuthUserAddRequest::default()
    })
    .await?;
    Ok(())
}

/// Makes a role.
pub(super) async fn role(case: &Case, name: &str) -> Result<()> {
    case.role_add(AuthRoleAddRequest { name: name.into() })
        .await?;
    Ok(())
}

/// Gives a user a role.
pub(super) async fn give(case: &Case, user: &str, role: &str) -> Result<()> {
    case.user_grant_role(AuthUserGrantRoleRequest {
        user: user.into(),
        role: role.into(),
    })
    .await?;
    Ok(())
}

/// Gives a role a right.
pub(super) async fn allow(
    case: &Case,
    role: &str,
    r#type: Type,
    key: &str,
    end: &[u8],
) -> Result<()> {
    case.role_grant_permission(AuthRoleGrantPermissionRequest {
        name: role.into(),
        perm: Some(right(r#type, key, end)),
    })
    .await?;
    Ok(())
}

/// A right.
pub(super) fn right(r#type: Type, key: &str, end: &[u8]) -> authpb::Permission {
    authpb::Permission {
        perm_type: r#type.into(),
        key: bytes(key),
        range_end: bytes(end),
    }
}

/// The same case with a user's token.
pub(super) async fn login(case: &Case, name: &str) -> Result<Case> {
    let answer = case.authenticate(credentials(name, "pass")).await?;
    case.with("token", &answer.token)
}

/// A name and a password.
pub(super) fn credentials(name: &str, password: &str) -> AuthenticateRequest {
    AuthenticateRequest {
        name: name.into(),
        password: password.into(),
    }
}

/// Makes root, turns auth on, and returns the case as root.
pub(super) async fn enable(case: &Case) -> Result<Case> {
    user(case, "root").await?;
    role(case, "root").await?;
    give(case, "root", "root").await?;
    case.auth_enable(AuthEnableRequest {}).await?;
    login(case, "root").await
}

/// Also makes `alice`, who may read `r…`, write `w…` and do both with `b…`; returns root and alice.
pub(super) async fn enable_with_alice(case: &Case) -> Result<(Case, Case)> {
    role(case, "some").await?;
    allow(case, "some", Type::Read, "r", b"s").await?;
    allow(case, "some", Type::Write, "w", b"x").await?;
    allow(case, "some", Type::Readwrite, "b", b"c").await?;
    user(case, "alice").await?;
    give(case, "alice", "some").await?;
    let root = enable(case).await?;
    let alice = login(case, "alice").await?;
    Ok((root, alice))
}
