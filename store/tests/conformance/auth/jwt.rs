//! Signed tokens.

use super::setup::*;
use crate::suite::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use revkeep_schemas::etcd_api::etcdserverpb::lease_client::LeaseClient;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) fn group() -> Group {
    group!(
        "auth::jwt",
        [
            what_a_token_says,
            whoever_knows_the_secret_makes_tokens,
            forged_ones,
            outside_of_its_time,
            without_an_end,
            without_what_it_must_say,
            rights_that_changed_make_it_old,
            an_old_one_still_manages,
            an_old_one_still_renews,
            an_old_one_watches_nothing,
            of_a_later_revision,
            of_no_revision,
            of_nobody,
            behind_a_word,
        ]
    )
    .alone()
    .flag("--auth-token=jwt,sign-method=HS256,priv-key={keys}/secret,ttl=10m")
}

/// Tokens that live for two seconds.
pub(crate) fn short() -> Group {
    group!("auth::jwt_ttl", [it_ends])
        .alone()
        .flag("--auth-token=jwt,sign-method=HS256,priv-key={keys}/secret,ttl=2s")
}

/// With a pair of keys; the private one is the members' own.
pub(crate) fn pair() -> Group {
    group!("auth::jwt_pair", [both_ways, good_at_every_member])
        .alone()
        .members(3)
        .flag("--auth-token=jwt,sign-method=ES256,pub-key={keys}/public.pem,priv-key={keys}/private.pem")
}

/// With the public key alone: somebody else makes the tokens.
pub(crate) fn checking() -> Group {
    group!("auth::jwt_public", [logging_in_elsewhere])
        .alone()
        .flag("--auth-token=jwt,sign-method=ES256,pub-key={keys}/public.pem")
}

const INVALID: &str = "etcdserver: invalid auth token";
const OLD: &str = "etcdserver: revision of auth store is old";

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// What a token says.
fn claims(token: &str) -> Result<Value> {
    let body = token.split('.').nth(1).context("no claims")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body)?)?)
}

/// A token of the secret that says this.
fn signed(claims: &Value) -> Result<String> {
    let key = EncodingKey::from_secret(SECRET);
    Ok(jsonwebtoken::encode(&Header::default(), claims, &key)?)
}

/// What a good token of a user would say now.
async fn good(root: &Case, name: &str) -> Result<Value> {
    let revision = root.auth_status(AuthStatusRequest {}).await?.auth_revision;
    Ok(json!({"username": name, "revision": revision, "exp": now()? + 600}))
}

/// The same case with a token that says this.
fn saying(case: &Case, claims: &Value) -> Result<Case> {
    case.with("token", signed(claims)?)
}

async fn unknown(case: &Case) -> Result<()> {
    refused(case.range(get("k")).await, Code::Unauthenticated, INVALID)?;
    refused(case.put(put("k", "")).await, Code::Unauthenticated, INVALID)
}

async fn what_a_token_says(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let token = alice.token().context("no token")?;
    let head = token.split('.').next().context("no head")?;
    let head: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head)?)?;
    assert_eq!(head, json!({"alg": "HS256", "typ": "JWT"}));
    let mut said = claims(token)?;
    let end = said["exp"].take().as_u64().context("no end")?;
    let now = now()?;
    assert!((now + 540..=now + 600).contains(&end), "{end}, now {now}");
    let mut expected = good(&root, "alice").await?;
    expected["exp"] = Value::Null;
    assert_eq!(said, expected);
    Ok(())
}

async fn whoever_knows_the_secret_makes_tokens(case: &mut Case) -> Result<()> {
    let (root, _) = enable_with_alice(case).await?;
    let alice = saying(case, &good(&root, "alice").await?)?;
    alice.put(put("w", "")).await?;
    refused(
        alice.put(put("k", "")).await,
        Code::PermissionDenied,
        DENIED,
    )
}

async fn forged_ones(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let said = good(&root, "root").await?;
    let key = |text: &[u8]| EncodingKey::from_secret(text);
    let stranger = jsonwebtoken::encode(&Header::default(), &said, &key(b"a guess"))?;
    let other_method = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &said, &key(SECRET))?;
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let none = encoded(&json!({"alg": "none", "typ": "JWT"}));
    let unsigned = format!("{none}.{}.", encoded(&said));
    let own = signed(&good(&root, "alice").await?)?;
    let (_, signature) = own.rsplit_once('.').context("no signature")?;
    let of_another = format!(
        "{}.{}.{signature}",
        encoded(&json!({"alg": "HS256"})),
        encoded(&said)
    );
    for token in [
        &stranger,
        &other_method,
        &unsigned,
        &of_another,
        "nonsense",
        "a.b.c",
        "",
    ] {
        unknown(&case.with("token", token)?)
            .await
            .context(token.to_owned())?;
    }
    Ok(())
}

async fn outside_of_its_time(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    for (claim, when) in [
        ("exp", now()? - 60),
        ("nbf", now()? + 600),
        ("iat", now()? + 600),
    ] {
        let mut said = good(&root, "root").await?;
        said[claim] = when.into();
        unknown(&saying(case, &said)?).await.context(claim)?;
    }
    Ok(())
}

async fn without_an_end(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let mut said = good(&root, "root").await?;
    said.as_object_mut().context("no claims")?.remove("exp");
    saying(case, &said)?.put(put("k", "")).await?;
    Ok(())
}

async fn without_what_it_must_say(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    if case.is_etcd_before(8) {
        // Older ones die of it.
        return Ok(());
    }
    let good = good(&root, "root").await?;
    for claim in ["username", "revision"] {
        for wrong in [json!(true), json!([1]), Value::Null] {
            let mut said = good.clone();
            said[claim] = wrong;
            unknown(&saying(case, &said)?).await.context(claim)?;
        }
        let mut said = good.clone();
        said.as_object_mut().context("no claims")?.remove(claim);
        unknown(&saying(case, &said)?).await.context(claim)?;
    }
    Ok(())
}

/// Refused for being old.
fn old<T: std::fmt::Debug>(case: &Case, outcome: Result<T, tonic::Status>) -> Result<()> {
    if case.is_etcd_before(2) {
        // Older ones pass it on without a code of gRPC.
        return refused(outcome, Code::Unknown, "auth: revision in header is old");
    }
    refused(outcome, Code::InvalidArgument, OLD)
}

async fn rights_that_changed_make_it_old(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    alice.put(put("w", "")).await?;
    role(&root, "other").await?;
    old(case, alice.put(put("w", "")).await)?;
    old(case, alice.range(get("r")).await)?;
    old(case, alice.delete_range(delete("w")).await)?;
    old(case, alice.txn(txn([get("r").op()])).await)?;
    // Root's is as old.
    old(case, root.put(put("w", "")).await)?;
    login(case, "alice").await?.put(put("w", "")).await?;
    Ok(())
}

async fn an_old_one_still_manages(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    for name in ["one", "two"] {
        role(&root, name).await?;
    }
    let roles = root.role_list(AuthRoleListRequest {}).await?.roles;
    assert_eq!(roles, ["one", "root", "two"]);
    root.hash_kv(HashKvRequest { revision: 0 }).await?;
    Ok(())
}

async fn renew(case: &Case, id: i64) -> Result<LeaseKeepAliveResponse, tonic::Status> {
    let mut client = LeaseClient::with_interceptor(case.channel.clone(), case.with.clone());
    let ask = tokio_stream::iter([LeaseKeepAliveRequest { id }]);
    let mut stream = client.lease_keep_alive(ask).await?.into_inner();
    let answer = stream.message().await?;
    answer.ok_or_else(|| tonic::Status::internal("no answer"))
}

async fn an_old_one_still_renews(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    root.lease_grant(LeaseGrantRequest { ttl: 600, id: 7 })
        .await?;
    root.put(PutRequest {
        lease: 7,
        ..put("w", "")
    })
    .await?;
    alice
        .lease_grant(LeaseGrantRequest { ttl: 700, id: 8 })
        .await?;
    assert_eq!(renew(&alice, 7).await?.ttl, 600);
    role(&root, "other").await?;
    // Root may do it whatever has changed, and everybody where no keys are.
    assert_eq!(renew(&root, 7).await?.ttl, 600);
    assert_eq!(renew(&alice, 8).await?.ttl, 700);
    if !case.is_etcd_before(28) {
        refused(renew(&alice, 7).await, Code::InvalidArgument, OLD)?;
        let nobody = renew(case, 8).await;
        refused(
            nobody,
            Code::InvalidArgument,
            "etcdserver: user name is empty",
        )?;
    }
    Ok(())
}

async fn an_old_one_watches_nothing(case: &mut Case) -> Result<()> {
    let (root, alice) = enable_with_alice(case).await?;
    let mut stream = WatchStream::watching(&alice, watch("r")).await?;
    role(&root, "other").await?;
    // What was allowed goes on; nothing is added.
    stream.ask_create(watch("r1")).await?;
    let answer = stream.next().await?;
    assert!(answer.created && answer.canceled, "{answer:?}");
    if case.is_etcd_before(17) {
        // Older ones give it the first one's id, and forget that.
        return Ok(());
    }
    let reason = format!("rpc error: code = InvalidArgument desc = {OLD}");
    assert_eq!(answer.cancel_reason, reason);
    login(case, "root").await?.put(put("r", "")).await?;
    assert_eq!(stream.next().await?.events.len(), 1);
    Ok(())
}

async fn of_a_later_revision(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let mut said = good(&root, "root").await?;
    said["revision"] = json!(said["revision"].as_u64().context("no number")? + 5);
    let early = saying(case, &said)?;
    // Not too old to write; but what is read is compared with the revision of the end.
    early.put(put("k", "")).await?;
    old(case, early.range(get("k")).await)
}

async fn of_no_revision(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let mut said = good(&root, "root").await?;
    said["revision"] = json!(0);
    let empty = "etcdserver: user name is empty";
    let nobody = saying(case, &said)?;
    refused(nobody.put(put("k", "")).await, Code::InvalidArgument, empty)?;
    refused(nobody.range(get("k")).await, Code::InvalidArgument, empty)
}

async fn of_nobody(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let nobody = saying(case, &good(&root, "nobody").await?)?;
    refused(
        nobody.put(put("k", "")).await,
        Code::PermissionDenied,
        DENIED,
    )?;
    refused(nobody.range(get("k")).await, Code::PermissionDenied, DENIED)?;
    refused(
        nobody.user_list(AuthUserListRequest {}).await,
        Code::FailedPrecondition,
        "etcdserver: user name not found",
    )
}

async fn behind_a_word(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    let token = root.token().context("no token")?;
    let bearer = case.with("authorization", format!("Bearer {token}"))?;
    if !case.is_etcd_before(32) {
        bearer.put(put("k", "")).await?;
    }
    Ok(())
}

async fn it_ends(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    for _ in 0..100 {
        // Use does not make it live longer.
        if let Err(status) = root.put(put("k", "")).await {
            return refused(Err::<(), _>(status), Code::Unauthenticated, INVALID);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("the token never ended")
}

/// A token of the private key.
fn signed_by_pair(case: &Case, claims: &Value) -> Result<String> {
    let key = EncodingKey::from_ec_pem(&std::fs::read(case.keys()?.file("private.pem"))?)?;
    let header = Header::new(Algorithm::ES256);
    Ok(jsonwebtoken::encode(&header, claims, &key)?)
}

async fn both_ways(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    root.put(put("k", "")).await?;
    let said = good(&root, "root").await?;
    let token = signed_by_pair(case, &said)?;
    case.with("token", token)?.put(put("k", "")).await?;
    // The public key is no secret.
    let public = std::fs::read(case.keys()?.file("public.pem"))?;
    let key = EncodingKey::from_secret(&public);
    let forged = jsonwebtoken::encode(&Header::default(), &said, &key)?;
    unknown(&case.with("token", forged)?).await
}

async fn good_at_every_member(case: &mut Case) -> Result<()> {
    let root = enable(case).await?;
    for member in 0..3 {
        let there = root.at(member).await?;
        there.put(put("k", "")).await?;
        assert_eq!(there.range(get("k")).await?.count, 1);
    }
    Ok(())
}

async fn logging_in_elsewhere(case: &mut Case) -> Result<()> {
    user(case, "root").await?;
    role(case, "root").await?;
    give(case, "root", "root").await?;
    let revision = case.auth_status(AuthStatusRequest {}).await?.auth_revision;
    case.auth_enable(AuthEnableRequest {}).await?;
    refused(
        case.authenticate(credentials("root", "pass")).await,
        Code::Unknown,
        "auth: token signing attempted with verify-only key",
    )?;
    let said = json!({"username": "root", "revision": revision, "exp": now()? + 600});
    let token = signed_by_pair(case, &said)?;
    case.with("token", token)?.put(put("k", "")).await?;
    Ok(())
}
