//! Every answer of a real etcd.

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use revkeep_harness::etcd_series;
use revkeep_schemas::{
    etcd_api::etcdserverpb::{
        AuthDisableRequest, AuthEnableRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
        DeleteRangeRequest, PutRequest, RangeRequest, kv_client::KvClient,
    },
    store_api::proposal::Command,
};
use revkeep_store::mvcc::Mvcc;

use crate::{
    commands::{password, random},
    pair::{Pair, Said, etcd_said, store_said, with_token},
};

async fn make_root(pair: &mut Pair) {
    pair.command(Command::AuthUserAdd(AuthUserAddRequest {
        name: "root".to_owned(),
        password: password("root"),
        ..AuthUserAddRequest::default()
    }))
    .await;
    pair.command(Command::AuthUserGrantRole(AuthUserGrantRoleRequest {
        user: "root".to_owned(),
        role: "root".to_owned(),
    }))
    .await;
}

async fn enable(pair: &mut Pair) {
    pair.command(Command::AuthEnable(AuthEnableRequest {}))
        .await;
    let token = pair.login("root", &password("root")).await.unwrap();
    pair.token = Some(token);
    pair.member.login("root", &password("root")).await.unwrap();
}

/// Compares what a user may do, key by key and range by range.
async fn compare_rights(pair: &mut Pair, user: &str, random: &mut StdRng) {
    let etcd = pair.login(user, &password(user)).await;
    let store = pair.member.login(user, &password(user)).await;
    let (token, who) = match (etcd, store) {
        (Ok(token), Ok(who)) => (token, who),
        (etcd, store) => {
            assert_eq!(store.unwrap_err(), etcd.unwrap_err(), "login of {user}");
            return;
        }
    };
    let mut kv = KvClient::new(pair.channel.clone());
    let auth = pair.member.applier.shared().auth.clone();
    let store: &Mvcc = &pair.member.applier.shared().mvcc;
    let letter = |random: &mut StdRng| Bytes::copy_from_slice(&[b'a' + random.random_range(0..14)]);
    for _ in 0..25 {
        let key = letter(random);
        let range_end = match random.random_range(0..4) {
            0 => Bytes::from_static(&[0]),
            1 => Bytes::new(),
            _ => letter(random),
        };
        let prev_kv = random.random_range(0..2) == 0;
        let range = RangeRequest {
            key: key.clone(),
            range_end: range_end.clone(),
            ..RangeRequest::default()
        };
        let put = PutRequest {
            key: key.clone(),
            prev_kv,
            ..PutRequest::default()
        };
        let delete = DeleteRangeRequest {
            key,
            range_end,
            prev_kv,
        };
        let own: [Said<()>; 3] = [
            store_said(auth.check_range(&who, &range)),
            store_said(auth.check_put(&who, &put, store)),
            store_said(auth.check_delete_range(&who, &delete)),
        ];
        let token = Some(token.as_str());
        let asked = format!("{user}: {range:?}, prev_kv {prev_kv}");
        let theirs = [
            etcd_said(kv.range(with_token(range, token)).await).map(drop),
            etcd_said(kv.put(with_token(put, token)).await).map(drop),
            etcd_said(kv.delete_range(with_token(delete, token)).await).map(drop),
        ];
        assert_eq!(own, theirs, "{asked}");
    }
}

#[tokio::test]
async fn answers_as_etcd_does() {
    let Some(version) = etcd_series(3, 5) else {
        return;
    };
    let mut pair = Pair::start(&version).await;
    let seed = 20_261_121;
    println!("seed {seed}");
    let mut numbers = StdRng::seed_from_u64(seed);
    pair.command(Command::AuthEnable(AuthEnableRequest {}))
        .await;
    for _ in 0..3 {
        for _ in 0..60 {
            pair.command(random(&mut numbers)).await;
        }
        pair.compare().await;
        make_root(&mut pair).await;
        enable(&mut pair).await;
        for _ in 0..60 {
            pair.command(random(&mut numbers)).await;
        }
        pair.compare().await;
        for user in ["root", "alice", "bob", "carol", "nobody"] {
            compare_rights(&mut pair, user, &mut numbers).await;
        }
        pair.command(Command::AuthDisable(AuthDisableRequest {}))
            .await;
        pair.token = None;
    }
    pair.etcd.stop().await.unwrap();
}
