//! Users that come with a certificate.

use super::setup::*;
use crate::suite::*;
use authpb::permission::Type;

pub(crate) fn group() -> Group {
    group!(
        "auth::certificates",
        [
            the_name_is_the_user,
            the_name_of_nobody,
            a_token_counts_more,
            a_wrong_token_is_no_better_for_it,
            such_a_user_has_no_password,
            one_may_ask_for_oneself,
            a_watch,
            as_json_it_names_nobody,
        ]
    )
    .tls()
    .alone()
}

/// The name in the certificate of every case.
const NAME: &str = "test client";

/// Turns auth on, with a user of the certificate's name who may do everything with `b…`; returns root.
async fn enable_with_named(case: &Case) -> Result<Case> {
    case.user_add(AuthUserAddRequest {
        name: NAME.into(),
        options: Some(authpb::UserAddOptions { no_password: true }),
        ..AuthUserAddRequest::default()
    })
    .await?;
    role(case, "some").await?;
    allow(case, "some", Type::Readwrite, "b", b"c").await?;
    give(case, NAME, "some").await?;
    enable(case).await
}

async fn the_name_is_the_user(case: &mut Case) -> Result<()> {
    let root = enable_with_named(case).await?;
    case.put(put("b", "")).await?;
    assert_eq!(case.range(get("b")).await?.count, 1);
    refused(case.put(put("k", "")).await, Code::PermissionDenied, DENIED)?;
    refused(case.range(get("k")).await, Code::PermissionDenied, DENIED)?;
    // What is taken from the user is gone at once.
    root.role_delete(AuthRoleDeleteRequest {
        role: "some".into(),
    })
    .await?;
    refused(case.put(put("b", "")).await, Code::PermissionDenied, DENIED)
}

async fn the_name_of_nobody(case: &mut Case) -> Result<()> {
    enable(case).await?;
    refused(case.put(put("k", "")).await, Code::PermissionDenied, DENIED)?;
    refused(case.range(get("k")).await, Code::PermissionDenied, DENIED)?;
    refused(
        case.user_list(AuthUserListRequest {}).await,
        Code::FailedPrecondition,
        "etcdserver: user name not found",
    )
}

async fn a_token_counts_more(case: &mut Case) -> Result<()> {
    let root = enable_with_named(case).await?;
    root.put(put("k", "")).await?;
    root.user_list(AuthUserListRequest {}).await?;
    Ok(())
}

async fn a_wrong_token_is_no_better_for_it(case: &mut Case) -> Result<()> {
    enable_with_named(case).await?;
    for token in [&b"nonsense"[..], b"abcdefghijklmnop.1", b"no text: \xe9"] {
        let stranger = case.with("token", token)?;
        let invalid = "etcdserver: invalid auth token";
        refused(
            stranger.range(get("b")).await,
            Code::Unauthenticated,
            invalid,
        )?;
        refused(
            stranger.put(put("b", "")).await,
            Code::Unauthenticated,
            invalid,
        )?;
    }
    Ok(())
}

async fn such_a_user_has_no_password(case: &mut Case) -> Result<()> {
    enable_with_named(case).await?;
    refused(
        case.authenticate(credentials(NAME, "pass")).await,
        Code::Unknown,
        "auth: authentication failed, password was given for no password user",
    )
}

async fn one_may_ask_for_oneself(case: &mut Case) -> Result<()> {
    enable_with_named(case).await?;
    let oneself = AuthUserGetRequest { name: NAME.into() };
    assert_eq!(case.user_get(oneself).await?.roles, ["some"]);
    refused(
        case.user_list(AuthUserListRequest {}).await,
        Code::PermissionDenied,
        DENIED,
    )
}

async fn a_watch(case: &mut Case) -> Result<()> {
    enable_with_named(case).await?;
    let mut stream = WatchStream::watching(case, watch("b")).await?;
    case.put(put("b", "")).await?;
    assert_eq!(stream.next().await?.events.len(), 1);
    stream.ask_create(watch("k")).await?;
    let answer = stream.next().await?;
    assert!(
        answer.canceled && answer.cancel_reason.contains(DENIED),
        "{answer:?}"
    );
    Ok(())
}

async fn as_json_it_names_nobody(case: &mut Case) -> Result<()> {
    let ask = r#"{"key":"Yg=="}"#;
    assert_eq!(https(case, "POST", "/v3/kv/put", ask).await?.status, 200);
    let root = enable_with_named(case).await?;
    for case in [&*case, &root] {
        let answer = https(case, "POST", "/v3/kv/put", ask).await?;
        let text = "CommonName of client sending a request against gateway will be ignored and not used as expected\n";
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
    assert_eq!(https(case, "GET", "/health", "").await?.status, 200);
    Ok(())
}
