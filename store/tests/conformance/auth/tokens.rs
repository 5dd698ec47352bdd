//! Who one is.

use super::setup::*;
use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "auth::tokens",
        [
            a_wrong_password,
            an_unknown_user,
            without_a_name,
            what_a_token_looks_like,
            an_unknown_token,
            no_token,
            each_login_has_its_token,
            a_token_is_good_until_rights_change,
            a_deleted_user_has_no_token,
            a_watch_without_a_token,
            a_watch_with_an_unknown_token,
            under_another_header,
            what_is_no_text,
            a_request_is_looked_at_first,
        ]
    )
    .alone()
}

/// Tokens that live for a second.
pub(crate) fn short() -> Group {
    group!("auth::token_ttl", [a_token_ends])
        .alone()
        .flag("--auth-token-ttl=1")
}

/// Tokens of no time at all.
pub(crate) fn default() -> Group {
    group!("auth::token_ttl_of_zero", [it_is_the_default])
        .alone()
        .flag("--auth-token-ttl=0")
}

const INVALID: &str = "etcdserver: invalid auth token";
const EMPTY: &str = "etcdserver: user name is empty";
const FAILED: &str = "etcdserver: authentication failed, invalid user ID or password";

async fn a_wrong_password(case: &mut Case) -> Result<()> {
    enable(case).await?;
    refused(
        case.authenticate(credentials("root", "wrong")).await,
        Code::InvalidArgument,
        FAILED,
    )
}

async fn an_unknown_user(case: &mut Case) -> Result<()> {
    enable(case).await?;
    refused(
        case.authenticate(credentials("nobody", "pass")).await,
        Code::InvalidArgument,
        FAILED,
    )
}

async fn without_a_name(case: &mut Case) -> Result<()> {
    enable(case).await?;
    refused(
        case.authenticate(credentials("", "pass")).await,
        Code::InvalidArgument,
        FAILED,
    )
}

async fn what_a_token_looks_like(case: &mut Case) -> Result<()> {
    enable(case).await?;
    let answer = case.authenticate(credentials("root", "pass")).await?;
    assert_eq!(answer.header, case.header(0));
    // Sixteen letters, and the index of the log entry that made it.
    let (letters, index) = answer.token.split_once('.').context("no dot")?;
    assert!(letters.len() == 16 && letters.chars().all(|letter| letter.is_ascii_alphabetic()));
    index.parse::<u64>()?;
    Ok(())
}

async fn an_unknown_token(case: &mut Case) -> Result<()> {
    enable(case).await?;
    for token in ["nonsense", "abcdefghijklmnop.1"] {
        let stranger = case.with("token", token)?;
        refused(
            stranger.range(get("k")).await,
            Code::Unauthenticated,
            INVALID,
        )?;
        refused(
            stranger.put(put("k", "")).await,
            Code::Unauthenticated,
            INVALID,
        )?;
    }
    Ok(())
}

async fn no_token(case: &mut Case) -> Result<()> {
    enable(case).await?;
    refused(case.range(get("k")).await, Code::InvalidArgument, EMPTY)?;
    refused(case.put(put("k", "")).await, Code::InvalidArgument, EMPTY)?;
    refused(
        case.delete_range(delete("k")).await,
        Code::InvalidArgument,
        EMPTY,
    )?;
    refused(
        case.txn(txn([put("k", "").op()])).await,
        Code::InvalidArgument,
        EMPTY,
    )
}

async fn each_login_has_its_token(case: &mut Case) -> Result<()> {
    enable(case).await?;
    let first = case.authenticate(credentials("root", "pass")).await?.token;
    let second = case.authenticate(credentials("root", "pass")).await?.token;
    assert_ne!(first, second);
    for token in [first, second] {
        case.with("token", &token)?.put(put("k", "")).await?;
    }
    Ok(())
}

async fn a_token_is_good_until_rights_change(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    alice.put(put("w", "")).await?;
    // Simple tokens are looked up with the rights of now, so a change shows at once.
    let ask = AuthUserRevokeRoleRequest {
        name: "alice".into(),
        role: "some".into(),
    };
    root.user_revoke_role(ask).await?;
    refused(
        alice.put(put("w", "")).await,
        Code::PermissionDenied,
        DENIED,
    )?;
    give(&root, "alice", "some").await?;
    alice.put(put("w", "")).await?;
    Ok(())
}

async fn a_deleted_user_has_no_token(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let ask = AuthUserDeleteRequest {
        name: "alice".into(),
    };
    root.user_delete(ask).await?;
    refused(
        alice.put(put("w", "")).await,
        Code::Unauthenticated,
        INVALID,
    )
}

/// What a watch that is not allowed says.
async fn watch_refused(case: &Case, reason: &str) -> Result<()> {
    let first = watch_request::RequestUnion::CreateRequest(watch("k"));
    let mut stream = WatchStream::open(case, first).await?;
    let expected = WatchResponse {
        header: case.header(0),
        watch_id: -1,
        created: true,
        canceled: true,
        cancel_reason: reason.to_owned(),
        ..WatchResponse::default()
    };
    assert_eq!(stream.next().await?, expected);
    Ok(())
}

async fn a_watch_without_a_token(case: &mut Case) -> Result<()> {
    let (_, alice) = enable_with_alice(case).await?;
    if case.is_etcd_before(17) {
        // Older ones give it an id, and no reason but the permission.
        return Ok(());
    }
    watch_refused(case, &reason("InvalidArgument", EMPTY)).await?;
    watch_refused(&alice, &reason("PermissionDenied", DENIED)).await
}

fn reason(code: &str, text: &str) -> String {
    format!("rpc error: code = {code} desc = {text}")
}

async fn a_watch_with_an_unknown_token(case: &mut Case) -> Result<()> {
    enable(case).await?;
    if case.is_etcd_before(17) {
        return Ok(());
    }
    let stranger = case.with("token", "nonsense")?;
    watch_refused(&stranger, &reason("Unauthenticated", INVALID)).await
}

async fn under_another_header(case: &mut Case) -> Result<()> {
    enable(case).await?;
    let answer = case.authenticate(credentials("root", "pass")).await?;
    // What the JSON gateway sends.
    let gateway = case.with("authorization", &answer.token)?;
    gateway.put(put("k", "")).await?;
    Ok(())
}

async fn a_token_ends(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    root.put(put("k", "")).await?;
    // The end is looked for every second.
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(3200)).await;
        if let Err(status) = root.put(put("k", "")).await {
            return refused(Err::<(), _>(status), Code::Unauthenticated, INVALID);
        }
    }
    bail!("the token never ended")
}

async fn what_is_no_text(case: &mut Case) -> Result<()> {
    enable(case).await?;
    let stranger = case.with("token", b"\xe9")?;
    refused(
        stranger.range(get("k")).await,
        Code::Unauthenticated,
        INVALID,
    )
}

async fn a_request_is_looked_at_first(case: &mut Case) -> Result<()> {
    const NO_KEY: &str = "etcdserver: key is not provided";
    enable(case).await?;
    let stranger = case.with("token", "nonsense")?;
    for who in [&*case, &stranger] {
        refused(who.range(get("")).await, Code::InvalidArgument, NO_KEY)?;
        refused(who.put(put("", "")).await, Code::InvalidArgument, NO_KEY)?;
        refused(
            who.delete_range(delete("")).await,
            Code::InvalidArgument,
            NO_KEY,
        )?;
        refused(
            who.txn(txn([put("", "").op()])).await,
            Code::InvalidArgument,
            NO_KEY,
        )?;
    }
    Ok(())
}

async fn it_is_the_default(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    root.put(put("k", "")).await?;
    Ok(())
}
