//! Comparison with what etcdutl wrote: see `golden/member/README.md`.

use std::{fs, path::Path};

use super::{
    NewMember, RestoredCluster, backend_rows,
    snap::Snap,
    survives_restore, v2store,
    wal::{WalEnd, WalReader},
    write_raft_files,
};
use crate::FormatError;

fn member(name: &str, urls: &[&str]) -> NewMember {
    NewMember {
        name: name.to_owned(),
        peer_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
    }
}

fn three() -> RestoredCluster {
    RestoredCluster {
        members: vec![
            member("m1", &["http://10.0.0.1:2380", "http://10.0.0.1:2379"]),
            member("m2", &["http://10.0.0.2:2380"]),
            member("a&<b>", &["https://10.0.0.3:2380"]),
        ],
        token: "tok".to_owned(),
    }
}

fn one() -> RestoredCluster {
    RestoredCluster::single("default", "http://127.0.0.1:2380")
}

fn golden(folder: &str, file: &Path) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/member")
        .join(folder);
    fs::read(folder.join(file.file_name().unwrap())).unwrap()
}

#[test]
fn files_are_equal_to_those_of_etcdutl() {
    for (folder, cluster, own) in [("one", one(), "default"), ("three", three(), "a&<b>")] {
        let dir = tempfile::tempdir().unwrap();
        let member_dir = dir.path().join("member");
        let files = write_raft_files(&member_dir, None, &cluster, own).unwrap();
        assert!(
            fs::read(&files.wal).unwrap() == golden(folder, &files.wal),
            "log of {folder}"
        );
        assert!(
            fs::read(&files.snap).unwrap() == golden(folder, &files.snap),
            "snapshot of {folder}"
        );
    }
}

#[test]
fn golden_files_are_read() {
    let cluster = three().resolve().unwrap();
    let bytes = golden("three", Path::new("0000000000000001-0000000000000003.snap"));
    let snap = Snap::decode(&bytes, "golden").unwrap();
    assert_eq!((snap.index, snap.term), (3, 1));
    let ids: Vec<_> = cluster.members.iter().map(|member| member.id).collect();
    assert_eq!(snap.conf_state.voters, ids);
    let members = v2store::members(&snap.data).unwrap();
    assert_eq!(members.len(), 3);
    for (read, written) in members.iter().zip(&cluster.members) {
        assert_eq!((read.id, &read.peer_urls), (written.id, &written.peer_urls));
    }
    let mut log = golden("three", Path::new("0000000000000000-0000000000000000.wal"));
    let offset = log.len() as u64;
    log.resize(log.len() + 4096, 0);
    let mut reader = WalReader::new(log.as_slice(), "golden");
    let mut count = 0;
    while reader.next_record().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 8);
    assert_eq!(reader.end(), Some(WalEnd::Clean { offset }));
}

#[cfg(unix)]
#[test]
fn modes_are_those_of_etcd() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let wal_dir = dir.path().join("log");
    let files = write_raft_files(
        &dir.path().join("member"),
        Some(&wal_dir),
        &one(),
        "default",
    );
    let files = files.unwrap();
    assert_eq!(files.wal.parent(), Some(wal_dir.as_path()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files.wal), 0o600);
    assert_eq!(mode(&files.snap) & 0o711, 0o600);
    assert_eq!(mode(&wal_dir), 0o700);
    assert_eq!(mode(files.snap.parent().unwrap()), 0o700);
}

#[test]
fn a_log_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let write = || write_raft_files(dir.path(), None, &one(), "default");
    write().unwrap();
    assert!(matches!(write(), Err(FormatError::Io { .. })));
}

#[test]
fn unsound_clusters_are_refused() {
    let clusters: [Vec<NewMember>; 7] = [
        vec![],
        vec![member("", &["http://a:1"])],
        vec![member("a", &[])],
        vec![member("a", &["a:1"])],
        vec![member("a", &["http://a:1/path"])],
        vec![member("a", &["http://a:1"]), member("a", &["http://b:1"])],
        vec![member("a", &["http://a:1"]), member("b", &["http://a:1"])],
    ];
    for members in clusters {
        let cluster = RestoredCluster {
            members,
            token: String::new(),
        };
        assert!(matches!(cluster.resolve(), Err(FormatError::Misuse { .. })));
    }
    assert!(one().resolve().unwrap().member("other").is_err());
}

#[test]
fn the_database_agrees_with_the_log() {
    let rows = backend_rows(&three()).unwrap();
    let keys: Vec<_> = rows.members.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(
        keys,
        [
            &b"61b046c1789d11d8"[..],
            b"a4d8459b0124de56",
            b"cd864937770211b2"
        ]
    );
    let json: &[u8] = br#"{"id":11878320549231124054,"peerURLs":["https://10.0.0.3:2380"],"name":"a\u0026\u003cb\u003e"}"#;
    assert_eq!(rows.members[1].1, json);
    assert_eq!(rows.meta[0].1, 3_u64.to_be_bytes());
    assert_eq!(
        rows.meta[1],
        (b"term".to_vec(), 1_u64.to_be_bytes().to_vec())
    );
}

#[test]
fn only_what_is_not_about_the_source_survives() {
    for (bucket, key) in [
        ("members", "1"),
        ("alarm", "x"),
        ("cluster", "clusterVersion"),
        ("cluster", "downgrade"),
        ("meta", "confState"),
        ("meta", "storageVersion"),
        ("meta", "term"),
    ] {
        assert!(!survives_restore(bucket.as_bytes(), key.as_bytes()));
    }
    for (bucket, key) in [
        ("lease", "1"),
        ("auth", "authRevision"),
        ("meta", "finishedCompactRev"),
    ] {
        assert!(survives_restore(bucket.as_bytes(), key.as_bytes()));
    }
}
