//! The API as JSON.

use crate::suite::*;
use serde_json::{Value, json};

pub(crate) fn group() -> Group {
    group!(
        "http::gateway",
        [
            putting,
            reading,
            camel_case,
            numbers_as_numbers,
            what_is_unknown_is_ignored,
            deleting,
            a_transaction,
            a_transaction_that_reads,
            compacting,
            leases,
            a_stream_of_renewals,
            status,
            members,
            a_watch,
            lock_and_election,
            without_a_key,
            a_future_revision,
            what_is_not_found,
            what_is_no_json,
            by_another_method,
            anybodys_origin,
            under_the_older_names,
        ]
    )
}

/// With a token.
pub(crate) fn auth() -> Group {
    group!("http::gateway_auth", [logging_in]).alone()
}

async fn post(case: &Case, path: &str, body: Value) -> Result<Answer> {
    http(case, "POST", path, &body.to_string()).await
}

async fn told(case: &Case, path: &str, body: Value) -> Result<Value> {
    let answer = post(case, path, body).await?;
    ensure!(answer.status == 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// Numbers of 64 bits are texts.
fn header(case: &Case, revisions: i64) -> Value {
    json!({
        "cluster_id": case.cluster_id().to_string(),
        "member_id": case.member_id().to_string(),
        "revision": (case.start + revisions).to_string(),
        "raft_term": case.term().to_string(),
    })
}

// "foo" and "bar" in base64.
const KEY: &str = "Zm9v";
const VALUE: &str = "YmFy";

async fn putting(case: &mut Case) -> Result<()> {
    let answer = told(case, "/v3/kv/put", json!({"key": KEY, "value": VALUE})).await?;
    assert_eq!(answer, json!({"header": header(case, 1)}));
    let at = case.start + 1;
    assert_eq!(
        case.range(all()).await?.kvs,
        [kv("foo", "bar", (at, at, 1))]
    );
    Ok(())
}

async fn reading(case: &mut Case) -> Result<()> {
    case.put(put("foo", "bar")).await?;
    let at = (case.start + 1).to_string();
    let expected = json!({
        "header": header(case, 1),
        "kvs": [{"key": KEY, "create_revision": at, "mod_revision": at, "version": "1", "value": VALUE}],
        "count": "1",
    });
    assert_eq!(
        told(case, "/v3/kv/range", json!({"key": KEY})).await?,
        expected
    );
    Ok(())
}

async fn camel_case(case: &mut Case) -> Result<()> {
    case.put(put("foo", "bar")).await?;
    let ask = json!({"key": KEY, "rangeEnd": "Zm9w", "countOnly": true});
    assert_eq!(told(case, "/v3/kv/range", ask).await?["count"], "1");
    Ok(())
}

async fn numbers_as_numbers(case: &mut Case) -> Result<()> {
    case.put(put("foo", "1")).await?;
    case.put(put("foo", "2")).await?;
    let at = case.start + 1;
    for revision in [json!(at), json!(at.to_string())] {
        let ask = json!({"key": KEY, "revision": revision});
        assert_eq!(
            told(case, "/v3/kv/range", ask).await?["kvs"][0]["value"],
            "MQ=="
        );
    }
    Ok(())
}

async fn what_is_unknown_is_ignored(case: &mut Case) -> Result<()> {
    told(
        case,
        "/v3/kv/put",
        json!({"key": KEY, "no_such_field": [1]}),
    )
    .await?;
    case.made(1).await
}

async fn deleting(case: &mut Case) -> Result<()> {
    case.put(put("foo", "bar")).await?;
    let at = (case.start + 1).to_string();
    let answer = told(
        case,
        "/v3/kv/deleterange",
        json!({"key": KEY, "prev_kv": true}),
    )
    .await?;
    let expected = json!({
        "header": header(case, 2),
        "deleted": "1",
        "prev_kvs": [{"key": KEY, "create_revision": at, "mod_revision": at, "version": "1", "value": VALUE}],
    });
    assert_eq!(answer, expected);
    Ok(())
}

async fn a_transaction(case: &mut Case) -> Result<()> {
    let ask = json!({
        "compare": [{"target": "CREATE", "key": KEY, "createRevision": "0"}],
        "success": [{"requestPut": {"key": KEY, "value": VALUE}}],
    });
    let expected = json!({
        "header": header(case, 1),
        "succeeded": true,
        "responses": [{"response_put": {"header": {"revision": (case.start + 1).to_string()}}}],
    });
    assert_eq!(told(case, "/v3/kv/txn", ask).await?, expected);
    Ok(())
}

async fn a_transaction_that_reads(case: &mut Case) -> Result<()> {
    let ask = json!({
        "compare": [{"target": "VERSION", "result": "GREATER", "key": KEY, "version": 0}],
        "failure": [{"request_range": {"key": KEY}}],
    });
    let expected = json!({
        "header": header(case, 0),
        "responses": [{"response_range": {"header": {"revision": case.start.to_string()}}}],
    });
    assert_eq!(told(case, "/v3/kv/txn", ask).await?, expected);
    Ok(())
}

async fn compacting(case: &mut Case) -> Result<()> {
    case.put(put("foo", "1")).await?;
    case.put(put("foo", "2")).await?;
    let ask = json!({"revision": (case.start + 1).to_string()});
    let answer = told(case, "/v3/kv/compaction", ask.clone()).await?;
    assert_eq!(answer, json!({"header": header(case, 2)}));
    let text = "etcdserver: mvcc: required revision has been compacted";
    failed(case, "/v3/kv/compaction", ask, 400, 11, text).await
}

async fn leases(case: &mut Case) -> Result<()> {
    let answer = told(case, "/v3/lease/grant", json!({"TTL": 600, "ID": "77"})).await?;
    let expected = json!({"header": header(case, 0), "ID": "77", "TTL": "600"});
    assert_eq!(answer, expected);
    case.put(PutRequest {
        lease: 77,
        ..put("foo", "")
    })
    .await?;
    let answer = told(
        case,
        "/v3/lease/timetolive",
        json!({"ID": 77, "keys": true}),
    )
    .await?;
    assert_eq!(
        (&answer["grantedTTL"], &answer["keys"]),
        (&json!("600"), &json!([KEY]))
    );
    let answer = told(case, "/v3/lease/leases", json!({})).await?;
    let leases = answer["leases"].as_array().context("no list")?;
    assert!(leases.contains(&json!({"ID": "77"})), "{answer}");
    let answer = told(case, "/v3/lease/revoke", json!({"ID": 77})).await?;
    assert_eq!(answer, json!({"header": header(case, 2)}));
    Ok(())
}

async fn a_stream_of_renewals(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let id = case.lease_grant(grant).await?.id.to_string();
    let answer = told(case, "/v3/lease/keepalive", json!({"ID": id})).await?;
    let expected = json!({"result": {"header": header(case, 0), "ID": id, "TTL": "600"}});
    assert_eq!(answer, expected);
    Ok(())
}

async fn status(case: &mut Case) -> Result<()> {
    let answer = told(case, "/v3/maintenance/status", json!({})).await?;
    let status = case.status(StatusRequest {}).await?;
    assert_eq!(answer["version"], status.version);
    assert_eq!(answer["leader"], status.leader.to_string());
    assert_eq!(answer["header"], header(case, 0));
    Ok(())
}

async fn members(case: &mut Case) -> Result<()> {
    let answer = told(case, "/v3/cluster/member/list", json!({})).await?;
    let expected = json!([{
        "ID": case.member_id().to_string(),
        "name": "default",
        "peerURLs": [case.members[0].peer_url()],
        "clientURLs": [case.endpoint()?],
    }]);
    assert_eq!(answer["members"], expected);
    Ok(())
}

async fn a_watch(case: &mut Case) -> Result<()> {
    case.put(put("foo", "bar")).await?;
    case.delete_range(delete("foo")).await?;
    let at = case.start + 1;
    let ask = json!({"create_request": {"key": KEY, "start_revision": at.to_string()}});
    let lines = http_lines(case, "/v3/watch", &ask.to_string(), 2).await?;
    let created = json!({"result": {"header": header(case, 2), "created": true}});
    assert_eq!(lines[0], created);
    let (first, second) = (at.to_string(), (at + 1).to_string());
    let events = json!([
        {"kv": {"key": KEY, "create_revision": first, "mod_revision": first, "version": "1", "value": VALUE}},
        {"type": "DELETE", "kv": {"key": KEY, "mod_revision": second}},
    ]);
    assert_eq!(lines[1]["result"]["events"], events);
    Ok(())
}

async fn lock_and_election(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let lease = case.lease_grant(grant).await?.id;
    let ask = json!({"name": KEY, "lease": lease.to_string()});
    let answer = told(case, "/v3/lock/lock", ask).await?;
    let key = answer["key"].clone();
    assert_eq!(answer["header"], header(case, 1));
    told(case, "/v3/lock/unlock", json!({"key": key})).await?;
    let text = "election: no leader";
    failed(
        case,
        "/v3/election/leader",
        json!({"name": KEY}),
        500,
        2,
        text,
    )
    .await
}

/// What a refusal looks like: the text twice, and gRPC's number of the code.
async fn failed(
    case: &Case,
    path: &str,
    body: Value,
    status: u16,
    code: i32,
    text: &str,
) -> Result<()> {
    let answer = post(case, path, body).await?;
    let expected = json!({"error": text, "code": code, "message": text});
    assert_eq!((answer.status, answer.json()?), (status, expected));
    Ok(())
}

async fn without_a_key(case: &mut Case) -> Result<()> {
    let text = "etcdserver: key is not provided";
    failed(case, "/v3/kv/range", json!({}), 400, 3, text).await
}

async fn a_future_revision(case: &mut Case) -> Result<()> {
    let text = "etcdserver: mvcc: required revision is a future revision";
    let ask = json!({"key": KEY, "revision": "999999"});
    failed(case, "/v3/kv/range", ask, 400, 11, text).await
}

async fn what_is_not_found(case: &mut Case) -> Result<()> {
    let text = "etcdserver: requested lease not found";
    failed(case, "/v3/lease/revoke", json!({"ID": 4711}), 404, 5, text).await
}

async fn what_is_no_json(case: &mut Case) -> Result<()> {
    let answer = http(case, "POST", "/v3/kv/range", "no json").await?;
    assert_eq!((answer.status, &answer.json()?["code"]), (400, &json!(3)));
    Ok(())
}

async fn by_another_method(case: &mut Case) -> Result<()> {
    let answer = http(case, "GET", "/v3/kv/put", "").await?;
    assert_eq!(answer.status, 405);
    Ok(())
}

async fn anybodys_origin(case: &mut Case) -> Result<()> {
    let answer = post(case, "/v3/kv/range", json!({"key": KEY})).await?;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    Ok(())
}

async fn under_the_older_names(case: &mut Case) -> Result<()> {
    let answer = told(case, "/v3/kv/lease/leases", json!({})).await?;
    assert_eq!(answer["header"], header(case, 0));
    Ok(())
}

async fn logging_in(case: &mut Case) -> Result<()> {
    for (path, ask) in [
        (
            "/v3/auth/user/add",
            json!({"name": "root", "password": "pass"}),
        ),
        ("/v3/auth/role/add", json!({"name": "root"})),
        (
            "/v3/auth/user/grant",
            json!({"user": "root", "role": "root"}),
        ),
        ("/v3/auth/enable", json!({})),
    ] {
        told(case, path, ask).await.context(path)?;
    }
    let text = "etcdserver: user name is empty";
    failed(case, "/v3/kv/put", json!({"key": KEY}), 400, 3, text).await?;
    let ask = json!({"name": "root", "password": "pass"});
    let answer = told(case, "/v3/auth/authenticate", ask).await?;
    let token = answer["token"].as_str().context("no token")?;
    let root = case.with("token", token)?;
    told(&root, "/v3/kv/put", json!({"key": KEY})).await?;
    let text = "etcdserver: invalid auth token";
    let stranger = case.with("token", "nonsense")?;
    failed(&stranger, "/v3/kv/put", json!({"key": KEY}), 401, 16, text).await
}
