//! etcd-client, as the agent uses it.

use crate::suite::*;
use ::etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, EventType, GetOptions,
    LeaseGrantOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp, WatchOptions,
};

pub(crate) fn group() -> Group {
    group!(
        "clients::etcd_client",
        [
            put_get_delete,
            options_of_a_get,
            a_transaction,
            a_watch,
            progress,
            a_compacted_watch,
            leases,
            a_lock,
            an_election,
            snapshot,
            refusals,
            members_and_status,
        ]
    )
}

async fn client(case: &Case) -> Result<Client> {
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(20));
    Ok(Client::connect([case.endpoint()?], Some(options)).await?)
}

async fn put_get_delete(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let answer = client.put("k", "1", None).await?;
    assert_eq!(
        answer.header().context("no header")?.revision(),
        case.start + 1
    );
    let options = PutOptions::new().with_prev_key();
    let answer = client.put("k", "2", Some(options)).await?;
    assert_eq!(answer.prev_key().context("no previous")?.value(), b"1");
    let answer = client.get("k", None).await?;
    assert_eq!((answer.count(), answer.kvs()[0].version()), (1, 2));
    let options = DeleteOptions::new().with_prev_key();
    let answer = client.delete("k", Some(options)).await?;
    assert_eq!(
        (answer.deleted(), answer.prev_kvs()[0].value()),
        (1, &b"2"[..])
    );
    Ok(())
}

async fn options_of_a_get(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    for key in ["p/b", "p/a", "q"] {
        client.put(key, "v", None).await?;
    }
    let options = GetOptions::new()
        .with_prefix()
        .with_sort(SortTarget::Create, SortOrder::Ascend)
        .with_keys_only();
    let answer = client.get("p/", Some(options)).await?;
    let keys: Vec<_> = answer.kvs().iter().map(|kv| kv.key().to_vec()).collect();
    assert_eq!(keys, [b"p/b", b"p/a"]);
    let options = GetOptions::new()
        .with_all_keys()
        .with_limit(1)
        .with_serializable();
    let answer = client.get("", Some(options)).await?;
    assert_eq!((answer.more(), answer.count()), (true, 3));
    let options = GetOptions::new()
        .with_from_key()
        .with_revision(case.start + 1);
    assert_eq!(client.get("p", Some(options)).await?.count(), 1);
    Ok(())
}

async fn a_transaction(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let txn = || {
        Txn::new()
            .when([Compare::version("k", CompareOp::Equal, 0)])
            .and_then([TxnOp::put("k", "made", None)])
            .or_else([TxnOp::get("k", None)])
    };
    assert!(client.txn(txn()).await?.succeeded());
    let answer = client.txn(txn()).await?;
    assert!(!answer.succeeded());
    assert_eq!(answer.op_responses().len(), 1);
    Ok(())
}

async fn a_watch(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    client.put("k", "1", None).await?;
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(case.start + 1)
        .with_prev_key();
    let mut stream = client.watch("k", Some(options)).await?;
    client.delete("k", None).await?;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let answer = stream.message().await?.context("it ended")?;
        for event in answer.events() {
            seen.push((event.event_type(), event.prev_kv().is_some()));
        }
    }
    assert_eq!(seen, [(EventType::Put, false), (EventType::Delete, true)]);
    Ok(())
}

async fn progress(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let mut stream = client.watch("k", None).await?;
    client.put("other", "", None).await?;
    stream.request_progress().await?;
    loop {
        let answer = stream.message().await?.context("it ended")?;
        if !answer.created() {
            assert_eq!((answer.watch_id(), answer.events().len()), (-1, 0));
            let revision = answer.header().context("no header")?.revision();
            assert_eq!(revision, case.start + 1);
            return Ok(());
        }
    }
}

async fn a_compacted_watch(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    for _ in 0..3 {
        client.put("k", "", None).await?;
    }
    client.compact(case.start + 3, None).await?;
    let options = WatchOptions::new().with_start_revision(1);
    let mut stream = client.watch("k", Some(options)).await?;
    loop {
        let answer = stream.message().await?.context("it ended")?;
        if answer.canceled() {
            assert_eq!(answer.compact_revision(), case.start + 3);
            return Ok(());
        }
    }
}

async fn leases(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let options = LeaseGrantOptions::new().with_id(909);
    let id = client.lease_grant(600, Some(options)).await?.id();
    client
        .put("k", "", Some(PutOptions::new().with_lease(id)))
        .await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
    keeper.keep_alive().await?;
    assert_eq!(answers.message().await?.context("it ended")?.ttl(), 600);
    let all = client.leases().await?;
    assert!(all.leases().iter().any(|lease| lease.id() == 909));
    client.lease_revoke(id).await?;
    assert_eq!(client.get("k", None).await?.count(), 0);
    Ok(())
}

async fn a_lock(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let answer = client.lock("l", None).await?;
    assert!(answer.key().starts_with(b"l/"));
    client.unlock(answer.key()).await?;
    assert_eq!(
        client
            .get("l/", Some(GetOptions::new().with_prefix()))
            .await?
            .count(),
        0
    );
    Ok(())
}

async fn an_election(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let lease = client.lease_grant(600, None).await?.id();
    let answer = client.campaign("e", "me", lease).await?;
    let leader = answer.leader().context("no leader key")?.clone();
    let told = client.leader("e").await?;
    assert_eq!(told.kv().context("nobody")?.value(), b"me");
    client
        .resign(Some(
            ::etcd_client::ResignOptions::new().with_leader(leader),
        ))
        .await?;
    refused_client(
        client.leader("e").await,
        Code::Unknown,
        "election: no leader",
    )
}

async fn snapshot(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    client.put("k", "v", None).await?;
    let mut stream = client.snapshot().await?;
    let mut bytes = 0;
    while let Some(piece) = stream.message().await? {
        bytes += piece.blob().len();
    }
    assert_eq!(bytes % 512, 32);
    Ok(())
}

async fn refusals(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let future = GetOptions::new().with_revision(case.start + 9);
    refused_client(
        client.get("k", Some(future)).await,
        Code::OutOfRange,
        "etcdserver: mvcc: required revision is a future revision",
    )?;
    refused_client(
        client.put("", "", None).await,
        Code::InvalidArgument,
        "etcdserver: key is not provided",
    )?;
    refused_client(
        client.lease_revoke(4711).await,
        Code::NotFound,
        "etcdserver: requested lease not found",
    )
}

async fn members_and_status(case: &mut Case) -> Result<()> {
    let mut client = client(case).await?;
    let members = client.member_list().await?;
    assert_eq!(members.members()[0].id(), case.member_id());
    assert_eq!(client.status().await?.leader(), case.member_id());
    let hash = client.hash_kv(0).await?;
    let expected = case.hash_kv(HashKvRequest { revision: 0 }).await?;
    assert_eq!(hash.hash(), expected.hash);
    Ok(())
}
