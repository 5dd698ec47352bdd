//! Members in this process serve etcd's clients: over gRPC with every service, as JSON, through TLS, after a join, and
//! with restored data.

#![expect(clippy::expect_used, reason = "a test that fails says why")]

use std::path::Path;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use revkeep_store::server::{
    ClusterState, Config, Environment, InitialCluster, Node, ServerUrl, TlsFiles, start_together,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use anyhow::Context as _;

type Anyhow<T = ()> = anyhow::Result<T>;

/// A loaded machine may take this long for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn url(node: &Node) -> String {
    node.client_urls().first().expect("a URL").to_string()
}

async fn client(node: &Node) -> Anyhow<Client> {
    node.ready().await?;
    Ok(Client::connect([url(node)], None).await?)
}

/// One HTTP/1.1 request; the answer with its head.
async fn http(node: &Node, request: &str, body: &str) -> Anyhow<String> {
    let url = node.client_urls().first().expect("a URL");
    http_at(url, request, body).await
}

async fn http_at(url: &ServerUrl, request: &str, body: &str) -> Anyhow<String> {
    let address = url.authority();
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await??;
    Ok(String::from_utf8(answer)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_answers_grpc_json_and_plain_http() -> Anyhow {
    let folder = tempfile::tempdir()?;
    let node = Node::start(
        Config::alone("m", folder.path().join("m")),
        Environment::default(),
    )
    .await?;
    let mut client = client(&node).await?;
    client.put("foo", "bar", None).await?;

    let json = http(&node, "POST /v3/kv/range", r#"{"key":"Zm9v"}"#).await?;
    assert!(json.contains(r#""value":"YmFy""#), "{json}");
    assert!(json.contains(r#""mod_revision":"2""#), "{json}");
    let refused = http(
        &node,
        "POST /v3/kv/range",
        r#"{"key":"Zm9v","revision":99}"#,
    )
    .await?;
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    assert!(refused.contains(
        r#"{"error":"etcdserver: mvcc: required revision is a future revision","code":11,"message":"etcdserver: mvcc: required revision is a future revision"}"#
    ));
    let renewals = http(&node, "POST /v3/lease/keepalive", r#"{"ID":8}{"ID":"9"}"#).await?;
    for id in ["8", "9"] {
        assert!(
            renewals.contains(&format!(r#""ID":"{id}"}}}}"#)),
            "{renewals}"
        );
    }

    let version = http(&node, "GET /version", "").await?;
    assert!(version.contains(r#""etcdserver":"3.5."#), "{version}");
    let health = http(&node, "GET /health", "").await?;
    assert!(
        health.ends_with(r#"{"health":"true","reason":""}"#),
        "{health}"
    );
    let ready = http(&node, "GET /readyz?verbose", "").await?;
    assert!(ready.contains("[+]linearizable_read ok\n"), "{ready}");
    let metrics = http(&node, "GET /metrics", "").await?;
    for line in [
        "etcd_server_has_leader 1\n",
        "etcd_debugging_mvcc_current_revision 2\n",
        r#"grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
        r#"grpc_server_handled_total{grpc_code="OutOfRange",grpc_method="Range",grpc_service="etcdserverpb.KV",grpc_type="unary"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let missing = http(&node, "GET /nothing", "").await?;
    assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
    node.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_member_comes_back_as_it_was() -> Anyhow {
    let folder = tempfile::tempdir()?;
    let config = || {
        let mut config = Config::alone("m", folder.path().join("m"));
        config.initial_cluster = "m=http://127.0.0.1:1".parse().expect("a cluster");
        config.initial_advertise_peer_urls = ServerUrl::list("http://127.0.0.1:1").expect("a URL");
        config
    };
    let first = Node::start(config(), Environment::default()).await?;
    let header = client(&first).await?.put("k", "v", None).await?;
    let ids = header.header().expect("a header").clone();
    first.stop().await?;

    let again = Node::start(config(), Environment::default()).await?;
    let answer = client(&again).await?.get("k", None).await?;
    assert_eq!(answer.kvs().first().expect("the key").value(), b"v");
    let header = answer.header().expect("a header");
    assert_eq!(header.cluster_id(), ids.cluster_id());
    assert_eq!(header.member_id(), ids.member_id());
    assert_eq!(header.revision(), ids.revision());
    again.stop().await?;
    Ok(())
}

/// Two members whose ports are known before they start, with a port for metrics each.
fn pair(folder: &Path) -> Anyhow<[Config; 2]> {
    let url = || -> Anyhow<ServerUrl> {
        let port = revkeep_harness::free_port()?;
        Ok(format!("http://127.0.0.1:{port}").parse()?)
    };
    let peers = [url()?, url()?];
    let cluster: InitialCluster = ["m0", "m1"]
        .into_iter()
        .zip(&peers)
        .map(|(name, peer)| (name.to_owned(), vec![peer.clone()]))
        .collect();
    let config = |name: &str, peer: &ServerUrl| -> Anyhow<Config> {
        let mut config = Config::alone(name, folder.join(name));
        config.listen_client_urls = vec![url()?];
        config
            .advertise_client_urls
            .clone_from(&config.listen_client_urls);
        config.listen_peer_urls = vec![peer.clone()];
        config.initial_advertise_peer_urls = vec![peer.clone()];
        config.initial_cluster = cluster.clone();
        config.listen_metrics_urls = vec![url()?];
        Ok(config)
    };
    let [one, other] = &peers;
    Ok([config("m0", one)?, config("m1", other)?])
}

/// Starts a member without the other; it takes connections, tells how it is, and serves nobody. Then starts the other, and
/// the request that waited is answered.
async fn start_one_by_one([one, other]: &[Config; 2]) -> Anyhow<Vec<Node>> {
    let first = Node::start(one.clone(), Environment::default()).await?;
    let metrics = one.listen_metrics_urls.first().expect("a URL");
    let health = http_at(metrics, "GET /health", "").await?;
    assert!(health.contains("RAFT NO LEADER"), "{health}");
    let url = first.client_urls().first().expect("a URL").clone();
    let mut waiting =
        tokio::spawn(async move { http_at(&url, "GET /health?serializable=true", "").await });
    let served = timeout(Duration::from_secs(2), &mut waiting).await;
    assert!(served.is_err(), "a client was served too early: {served:?}");

    let second = Node::start(other.clone(), Environment::default()).await?;
    let answer = timeout(PATIENCE, waiting).await???;
    assert!(answer.contains("true"), "{answer}");
    Ok(vec![first, second])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_serves_clients_once_it_has_told_its_name() -> Anyhow {
    let folder = tempfile::tempdir()?;
    let configs = pair(folder.path())?;
    let nodes = start_one_by_one(&configs).await?;
    for (node, config) in nodes.iter().zip(&configs) {
        // It is known as soon as it answers at all.
        let known = http(node, "POST /v3/cluster/member/list", "{}").await?;
        assert!(known.contains(&url(node)), "{known}");
        assert!(known.contains(&config.name), "{known}");
    }
    let first = nodes.first().expect("a member");
    client(first).await?.put("k", "v", None).await?;
    stop(nodes).await?;

    // A member that knows everything may have missed what the others have agreed on since.
    let nodes = start_one_by_one(&configs).await?;
    let last = nodes.last().expect("a member");
    let answer = client(last).await?.get("k", None).await?;
    assert_eq!(answer.kvs().first().expect("the key").value(), b"v");
    stop(nodes).await
}

/// The kinds of the frames that a client that says nothing gets, until it is cut off.
async fn frames_for_the_silent(node: &Node) -> Anyhow<Vec<u8>> {
    let address = node.client_urls().first().expect("a URL").authority();
    let mut stream = TcpStream::connect(address).await?;
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await?;
    stream.write_all(&empty_settings).await?;
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await??;
    let (mut kinds, mut rest) = (Vec::new(), bytes.as_slice());
    while let [a, b, c, kind, _, _, _, _, _, behind @ ..] = rest {
        kinds.push(*kind);
        let len = u32::from_be_bytes([0, *a, *b, *c]);
        rest = behind.get(usize::try_from(len)?..).unwrap_or_default();
    }
    Ok(kinds)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_without_a_word_is_let_go() -> Anyhow {
    const PING: u8 = 6;
    let folder = tempfile::tempdir()?;
    let mut config = Config::alone("m", folder.path().join("m"));
    config.keepalive_interval = Duration::from_millis(300);
    config.keepalive_timeout = Duration::from_secs(1);
    let node = Node::start(config, Environment::default()).await?;
    node.ready().await?;
    let kinds = frames_for_the_silent(&node).await?;
    assert!(kinds.contains(&PING), "{kinds:?}");

    // Who answers stays.
    let mut client = client(&node).await?;
    client.put("k", "v", None).await?;
    sleep(Duration::from_secs(4)).await;
    client.put("k", "again", None).await?;
    node.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_joins_a_running_cluster_and_leaves_it() -> Anyhow {
    let folder = tempfile::tempdir()?;
    let nodes = start_together(folder.path(), 3, |_| {}).await?;
    let first = nodes.first().expect("a member");
    let mut client = client(first).await?;
    client.put("before", "the join", None).await?;

    // A port that is free now, for peer URLs that must be known before the member starts.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let own = format!("http://127.0.0.1:{port}");
    // etcd does not change a cluster before its members have been together for a while, and neither does the store.
    let added = timeout(PATIENCE, async {
        loop {
            match client.member_add([own.clone()], None).await {
                Err(error) if error.to_string().contains("unhealthy cluster") => {
                    sleep(Duration::from_millis(200)).await;
                }
                outcome => return outcome,
            }
        }
    })
    .await
    .context("the new member was not taken in time")??;
    let id = added.member().expect("the new member").id();

    let mut config = Config::alone("late", folder.path().join("late"));
    config.listen_peer_urls = ServerUrl::list(&own)?;
    config.initial_advertise_peer_urls = ServerUrl::list(&own)?;
    config.initial_cluster_state = ClusterState::Existing;
    let known = nodes
        .iter()
        .enumerate()
        .map(|(number, node)| (format!("m{number}"), node.peer_urls().to_vec()));
    config.initial_cluster = known
        .chain([("late".to_owned(), ServerUrl::list(&own)?)])
        .collect::<InitialCluster>();
    let late = Node::start(config, Environment::default()).await?;
    let mut of_late = self::client(&late).await?;
    let answer = timeout(PATIENCE, of_late.get("before", None))
        .await
        .context("the new member does not answer")??;
    assert_eq!(answer.kvs().len(), 1);
    assert_eq!(answer.header().expect("a header").member_id(), id);

    timeout(PATIENCE, async {
        loop {
            match client.member_remove(id).await {
                Err(error) if error.to_string().contains("unhealthy cluster") => {
                    sleep(Duration::from_millis(200)).await;
                }
                outcome => return outcome,
            }
        }
    })
    .await
    .context("the new member was not removed in time")??;
    timeout(PATIENCE, late.ended())
        .await
        .context("the removed member did not end")??;
    let left = client.member_list().await?;
    assert_eq!(left.members().len(), 3);
    late.stop().await?;
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_data_is_taken_in_once() -> Anyhow {
    let folder = tempfile::tempdir()?;
    let source = start_together(&folder.path().join("source"), 1, |_| {}).await?;
    let source = source.into_iter().next().expect("a member");
    let peer = source.peer_urls().first().expect("a URL").to_string();
    let mut client = client(&source).await?;
    for number in 0..5 {
        client.put("k", number.to_string(), None).await?;
    }
    let hash = client.hash_kv(0).await?.hash();
    let mut snapshot = client.snapshot().await?;
    let mut file = Vec::new();
    while let Some(piece) = snapshot.message().await? {
        file.extend_from_slice(piece.blob());
    }
    source.stop().await?;

    let target = folder.path().join("target");
    std::fs::create_dir_all(target.join("seed"))?;
    std::fs::write(target.join("seed/db"), &file)?;
    let mut config = Config::alone("m0", &target);
    config.listen_peer_urls = ServerUrl::list(&peer)?;
    config.initial_advertise_peer_urls = ServerUrl::list(&peer)?;
    config.initial_cluster = InitialCluster::alone("m0", &config.initial_advertise_peer_urls);
    let restored = Node::start(config.clone(), Environment::default()).await?;
    assert!(!target.join("seed").exists());
    let mut client = self::client(&restored).await?;
    assert_eq!(client.hash_kv(0).await?.hash(), hash);
    let old = client
        .get("k", Some(GetOptions::new().with_revision(3)))
        .await?;
    assert_eq!(old.kvs().first().expect("the key").value(), b"1");
    client.put("k", "after", None).await?;
    restored.stop().await?;

    // Alone, it may come back under another name and at other URLs, as a restored member of etcd may.
    let other = folder.path().join("other");
    std::fs::create_dir_all(other.join("seed"))?;
    std::fs::write(other.join("seed/db"), &file)?;
    let moved = Node::start(Config::alone("moved", &other), Environment::default()).await?;
    assert_eq!(self::client(&moved).await?.hash_kv(0).await?.hash(), hash);
    moved.stop().await?;
    Ok(())
}

/// A CA and certificates of it, as files.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Anyhow<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// The certificate and key of somebody, PEM.
    fn issue(&self, name: &str) -> Anyhow<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn write(&self, folder: &Path) -> Anyhow<TlsFiles> {
        let (cert, key) = self.issue("member")?;
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).map(|()| path)
        };
        Ok(TlsFiles {
            cert: file("cert.pem", &cert)?,
            key: file("key.pem", &key)?,
            trusted_ca: Some(file("ca.pem", &self.pem)?),
            client_cert_auth: true,
            allowed_names: Vec::new(),
        })
    }

    async fn client(&self, node: &Node, name: &str) -> Anyhow<Client> {
        let (cert, key) = self.issue(name)?;
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(&self.pem))
            .identity(Identity::from_pem(cert, key));
        node.ready().await?;
        let options = ConnectOptions::new().with_tls(tls);
        Ok(Client::connect([url(node)], Some(options)).await?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_protect_both_ports_and_name_users() -> Anyhow {
    let folder = tempfile::tempdir()?;
    let authority = Authority::new()?;
    let files = authority.write(folder.path())?;
    let nodes = start_together(folder.path(), 3, |config| {
        let any = ServerUrl::list("https://127.0.0.1:0").expect("a URL");
        config.listen_client_urls.clone_from(&any);
        config.advertise_client_urls.clone_from(&any);
        config.listen_peer_urls.clone_from(&any);
        config.initial_advertise_peer_urls.clone_from(&any);
        config.client_tls = Some(files.clone());
        config.peer_tls = Some(files.clone());
        config.bcrypt_cost = 4;
    })
    .await?;
    let (first, last) = (nodes.first().expect("a member"), nodes.last().expect("one"));

    let mut root = authority.client(first, "root").await?;
    root.put("shared", "by tls", None).await?;
    root.user_add("root", "secret", None).await?;
    root.user_grant_role("root", "root").await?;
    root.user_add("guest", "secret", None).await?;
    root.auth_enable().await?;
    root.put("shared", "as root", None).await?;
    let mut guest = authority.client(last, "guest").await?;
    let refused = timeout(PATIENCE, guest.get("shared", None)).await?;
    let error = refused.expect_err("the guest has no rights").to_string();
    assert!(error.contains("permission denied"), "{error}");

    // Another authority's certificate does not even get a connection.
    let stranger = Authority::new()?;
    let Ok(mut stranger) = stranger.client(first, "root").await else {
        return stop(nodes).await;
    };
    let outcome = timeout(Duration::from_secs(5), stranger.get("shared", None)).await;
    assert!(!matches!(outcome, Ok(Ok(_))), "a stranger was served");
    stop(nodes).await
}

async fn stop(nodes: Vec<Node>) -> Anyhow {
    for node in nodes {
        node.stop().await?;
    }
    Ok(())
}
