//! etcdctl: what it prints.

use crate::suite::*;

pub(crate) fn group() -> Group {
    group!(
        "clients::etcdctl",
        [
            put_and_get,
            get_as_json,
            get_a_prefix_sorted,
            get_keys_only,
            get_at_a_revision,
            get_the_count,
            put_with_the_previous,
            put_ignoring_the_value,
            del,
            del_a_prefix_with_the_previous,
            a_transaction,
            watching_the_past,
            lease_commands,
            lease_keep_alive_once,
            member_list,
            endpoint_health,
            endpoint_status,
            endpoint_hash,
            alarm_list,
            compaction,
            defrag,
            lock_runs_a_command,
            elect,
            many_keys,
            a_future_revision,
            a_missing_lease,
        ]
    )
}

/// Those that turn auth on.
pub(crate) fn alone() -> Group {
    group!("clients::etcdctl_auth", [users_and_roles]).alone()
}

async fn ctl(case: &Case, line: &str) -> Result<String> {
    // A word in quotes may hold a space; `''` is no word at all.
    let words: Vec<String> = line
        .split('\'')
        .enumerate()
        .flat_map(|(n, part)| {
            if n % 2 == 1 {
                vec![part.to_owned()]
            } else {
                part.split_whitespace().map(String::from).collect()
            }
        })
        .collect();
    let tool = case.tool()?;
    tokio::time::timeout(Duration::from_secs(60), tool.ctl(&words))
        .await
        .with_context(|| format!("etcdctl {line} does not end"))?
}

async fn says(case: &Case, line: &str, expected: &str) -> Result<()> {
    let said = ctl(case, line).await?;
    ensure!(
        said == expected,
        "etcdctl {line}: {said:?} instead of {expected:?}"
    );
    Ok(())
}

async fn fails(case: &Case, line: &str, expected: &str) -> Result<()> {
    let error = ctl(case, line)
        .await
        .err()
        .context("it worked")?
        .to_string();
    ensure!(error.contains(expected), "etcdctl {line}: {error}");
    Ok(())
}

async fn put_and_get(case: &mut Case) -> Result<()> {
    says(case, "put k 'a value'", "OK\n").await?;
    says(case, "get k", "k\na value\n").await?;
    says(case, "get k --print-value-only", "a value\n").await?;
    says(case, "get none", "").await
}

async fn get_as_json(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    let said: serde_json::Value = serde_json::from_str(&ctl(case, "get k -w json").await?)?;
    let at = case.start + 1;
    assert_eq!(said["count"], 1);
    assert_eq!(said["header"]["revision"], at);
    assert_eq!(said["header"]["cluster_id"], case.cluster_id());
    assert_eq!(
        said["kvs"][0],
        serde_json::json!({"key": "aw==", "create_revision": at, "mod_revision": at, "version": 1, "value": "dg=="})
    );
    Ok(())
}

async fn get_a_prefix_sorted(case: &mut Case) -> Result<()> {
    for (key, value) in [("p/a", "2"), ("p/b", "3"), ("p/c", "1"), ("q", "0")] {
        case.put(put(key, value)).await?;
    }
    let line = "get p/ --prefix --sort-by=value --order=descend --limit=2";
    says(case, line, "p/b\n3\np/a\n2\n").await
}

async fn get_keys_only(case: &mut Case) -> Result<()> {
    for key in ["a", "b", "c"] {
        case.put(put(key, "v")).await?;
    }
    says(case, "get b --from-key --keys-only", "b\n\nc\n\n").await?;
    says(case, "get a c", "a\nv\nb\nv\n").await
}

async fn get_at_a_revision(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.put(put("k", "2")).await?;
    let line = format!("get k --rev={} --print-value-only", case.start + 1);
    says(case, &line, "1\n").await
}

async fn get_the_count(case: &mut Case) -> Result<()> {
    for key in ["a", "b", "c"] {
        case.put(put(key, "v")).await?;
    }
    let said = ctl(case, "get '' --prefix --count-only -w fields").await?;
    assert!(said.contains("\"Count\" : 3"), "{said}");
    Ok(())
}

async fn put_with_the_previous(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    says(case, "put k 2 --prev-kv", "OK\nk\n1\n").await
}

async fn put_ignoring_the_value(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    says(case, "put k --ignore-value", "OK\n").await?;
    says(case, "get k", "k\n1\n").await?;
    fails(case, "put none --ignore-value", "etcdserver: key not found").await
}

async fn del(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    says(case, "del k", "1\n").await?;
    says(case, "del k", "0\n").await
}

async fn del_a_prefix_with_the_previous(case: &mut Case) -> Result<()> {
    for key in ["p/a", "p/b", "q"] {
        case.put(put(key, "v")).await?;
    }
    says(case, "del p/ --prefix --prev-kv", "2\np/a\nv\np/b\nv\n").await
}

async fn a_transaction(case: &mut Case) -> Result<()> {
    case.put(put("k", "v")).await?;
    let script = "value(\"k\") = \"v\"\n\nput k w\nget k\n\nput k x\n\n";
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("txn");
    std::fs::write(&file, script)?;
    let endpoint = case.endpoint()?;
    let program = case.version.program("etcdctl");
    let output = tokio::process::Command::new(program)
        .args(["txn", "--endpoints", &endpoint])
        .env("ETCDCTL_API", "3")
        .stdin(std::fs::File::open(file)?)
        .output()
        .await?;
    let said = String::from_utf8(output.stdout)?;
    assert_eq!(said, "SUCCESS\n\nOK\n\nk\nw\n");
    Ok(())
}

async fn watching_the_past(case: &mut Case) -> Result<()> {
    case.put(put("k", "1")).await?;
    case.delete_range(delete("k")).await?;
    let endpoint = case.endpoint()?;
    let mut child = tokio::process::Command::new(case.version.program("etcdctl"))
        .args(["watch", "k", "--prev-kv", "--endpoints", &endpoint])
        .arg(format!("--rev={}", case.start + 1))
        .env("ETCDCTL_API", "3")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut output = child.stdout.take().context("no output")?;
    let expected = "PUT\nk\n1\nDELETE\nk\n1\nk\n\n";
    let mut said = vec![0; expected.len()];
    let reading = tokio::io::AsyncReadExt::read_exact(&mut output, &mut said);
    tokio::time::timeout(Duration::from_secs(20), reading).await??;
    child.kill().await?;
    assert_eq!(String::from_utf8(said)?, expected);
    Ok(())
}

async fn lease_commands(case: &mut Case) -> Result<()> {
    let said = ctl(case, "lease grant 600").await?;
    let id = said.split_whitespace().nth(1).context("no id")?.to_owned();
    assert_eq!(said, format!("lease {id} granted with TTL(600s)\n"));
    says(case, &format!("put k v --lease={id}"), "OK\n").await?;
    let said = ctl(case, &format!("lease timetolive {id} --keys")).await?;
    let expected = format!("lease {id} granted with TTL(600s), remaining(");
    assert!(
        said.starts_with(&expected) && said.ends_with(", attached keys([k])\n"),
        "{said}"
    );
    assert!(ctl(case, "lease list").await?.contains(&id));
    says(
        case,
        &format!("lease revoke {id}"),
        &format!("lease {id} revoked\n"),
    )
    .await?;
    says(case, "get k", "").await?;
    let line = format!("lease timetolive {id}");
    says(case, &line, &format!("lease {id} already expired\n")).await
}

async fn lease_keep_alive_once(case: &mut Case) -> Result<()> {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    let id = format!("{:016x}", case.lease_grant(grant).await?.id);
    let line = format!("lease keep-alive {id} --once");
    says(
        case,
        &line,
        &format!("lease {id} keepalived with TTL(600)\n"),
    )
    .await
}

async fn member_list(case: &mut Case) -> Result<()> {
    let expected = format!(
        "{:x}, started, default, {}, {}, false\n",
        case.member_id(),
        case.members[0].peer_url(),
        case.endpoint()?
    );
    says(case, "member list", &expected).await
}

async fn endpoint_health(case: &mut Case) -> Result<()> {
    let said = ctl(case, "endpoint health").await?;
    let expected = " is healthy: successfully committed proposal: took = ";
    assert!(said.contains(expected), "{said}");
    Ok(())
}

async fn endpoint_status(case: &mut Case) -> Result<()> {
    let said: serde_json::Value =
        serde_json::from_str(&ctl(case, "endpoint status -w json").await?)?;
    let status = &said[0]["Status"];
    assert_eq!(status["leader"], case.member_id());
    assert_eq!(status["header"]["revision"], case.start);
    let table = ctl(case, "endpoint status -w table").await?;
    assert!(
        table.contains(&format!("{:x}", case.member_id())),
        "{table}"
    );
    Ok(())
}

async fn endpoint_hash(case: &mut Case) -> Result<()> {
    case.put(put("k", "")).await?;
    let said = ctl(case, "endpoint hashkv").await?;
    let hash = case.hash_kv(HashKvRequest { revision: 0 }).await?.hash;
    assert!(said.contains(&hash.to_string()), "{said}");
    Ok(())
}

async fn alarm_list(case: &mut Case) -> Result<()> {
    says(case, "alarm list", "").await?;
    says(case, "alarm disarm", "").await
}

async fn compaction(case: &mut Case) -> Result<()> {
    for _ in 0..3 {
        case.put(put("k", "")).await?;
    }
    let at = case.start + 2;
    says(
        case,
        &format!("compact {at}"),
        &format!("compacted revision {at}\n"),
    )
    .await?;
    fails(
        case,
        &format!("compact {at}"),
        "required revision has been compacted",
    )
    .await?;
    fails(
        case,
        &format!("get k --rev={}", at - 1),
        "required revision has been compacted",
    )
    .await
}

async fn defrag(case: &mut Case) -> Result<()> {
    let said = ctl(case, "defrag").await?;
    assert!(
        said.starts_with("Finished defragmenting etcd member"),
        "{said}"
    );
    Ok(())
}

async fn lock_runs_a_command(case: &mut Case) -> Result<()> {
    says(case, "lock l echo held", "held\n").await?;
    assert_eq!(case.range(all()).await?.count, 0);
    Ok(())
}

async fn elect(case: &mut Case) -> Result<()> {
    let endpoint = case.endpoint()?;
    let mut child = tokio::process::Command::new(case.version.program("etcdctl"))
        .args(["elect", "e", "me", "--endpoints", &endpoint])
        .env("ETCDCTL_API", "3")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stream = WatchStream::watching(
        case,
        WatchCreateRequest {
            start_revision: case.start + 1,
            ..watch("e/").range("e0")
        },
    )
    .await?;
    let event = stream.next().await?.events.remove(0);
    assert_eq!(event.kv.context("no key")?.value, "me");
    child.kill().await?;
    Ok(())
}

async fn many_keys(case: &mut Case) -> Result<()> {
    for n in 0..250 {
        case.put(put(format!("k{n:03}"), n.to_string())).await?;
    }
    let said = ctl(case, "get '' --prefix --keys-only").await?;
    assert_eq!(said.split_whitespace().count(), 250);
    Ok(())
}

async fn a_future_revision(case: &mut Case) -> Result<()> {
    fails(
        case,
        "get k --rev=999999",
        "required revision is a future revision",
    )
    .await
}

async fn a_missing_lease(case: &mut Case) -> Result<()> {
    fails(case, "put k v --lease=7777", "requested lease not found").await?;
    fails(case, "lease revoke 7777", "requested lease not found").await
}

async fn users_and_roles(case: &mut Case) -> Result<()> {
    says(case, "role add some", "Role some created\n").await?;
    let line = "role grant-permission some readwrite a/ --prefix=true";
    says(case, line, "Role some updated\n").await?;
    says(
        case,
        "role get some",
        "Role some\nKV Read:\n\t[a/, a0) (prefix a/)\nKV Write:\n\t[a/, a0) (prefix a/)\n",
    )
    .await?;
    says(case, "user add alice:pass", "User alice created\n").await?;
    says(
        case,
        "user grant-role alice some",
        "Role some is granted to user alice\n",
    )
    .await?;
    says(case, "user get alice", "User: alice\nRoles: some\n").await?;
    says(case, "user add root:pass", "User root created\n").await?;
    says(case, "role add root", "Role root created\n").await?;
    says(
        case,
        "user grant-role root root",
        "Role root is granted to user root\n",
    )
    .await?;
    says(case, "auth enable", "Authentication Enabled\n").await?;
    fails(case, "put a/k v", "user name is empty").await?;
    says(case, "put a/k v --user=alice:pass", "OK\n").await?;
    fails(case, "put b v --user=alice:pass", "permission denied").await?;
    fails(
        case,
        "put b v --user=alice:wrong",
        "invalid user ID or password",
    )
    .await?;
    says(case, "get a/ --prefix --user=alice:pass", "a/k\nv\n").await?;
    says(case, "user list --user=root:pass", "alice\nroot\n").await?;
    says(
        case,
        "auth status --user=root:pass",
        "Authentication Status: true\nAuthRevision: 8\n",
    )
    .await?;
    says(
        case,
        "auth disable --user=root:pass",
        "Authentication Disabled\n",
    )
    .await
}
