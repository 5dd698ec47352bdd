//! A connection to a server whose certificate is not checked, as etcdctl's `--insecure-skip-tls-verify` makes one.
//!
//! The handshake's signatures are checked all the same: the server has the key of the certificate that it shows, whoever
//! it is.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Channel;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Endpoint, Uri};

use super::Tls;
use super::connection::KEEP_ALIVE;
use crate::AgentError;

/// The address without its scheme, and the name that the server is asked for.
fn address(endpoint: &str) -> Result<(Uri, ServerName<'static>), AgentError> {
    let wrong = |reason: String| AgentError::Config(format!("--endpoints: {endpoint}: {reason}"));
    let address = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    // The channel would add TLS of its own to an address that begins with https.
    let uri: Uri = format!("http://{address}")
        .parse()
        .map_err(|error| wrong(format!("{error}")))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| wrong(error.to_string()))?;
    Ok((uri, name))
}

async fn dial(
    uri: &Uri,
    connector: &TlsConnector,
    name: ServerName<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}

/// What a server shows.
pub(crate) struct Handshake {
    /// Its own certificate.
    pub(crate) certificate: CertificateDer<'static>,
    /// Such as `TLS 1.3`.
    pub(crate) protocol: String,
}

/// The certificate that the server shows, whoever signed it. Connects for that alone.
pub(super) async fn handshake(endpoint: &str, tls: &Tls) -> Result<Option<Handshake>, AgentError> {
    let (uri, name) = address(endpoint)?;
    let connector = TlsConnector::from(Arc::new(config(tls).await?));
    let stream = dial(&uri, &connector, name).await;
    let stream = stream.map_err(AgentError::io(format!("shake hands with {endpoint}")))?;
    let session = stream.get_ref().1;
    let protocol = match session.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    };
    let first = session.peer_certificates().and_then(<[_]>::first);
    Ok(first.map(|one| Handshake {
        certificate: one.clone().into_owned(),
        protocol,
    }))
}

/// A channel to one endpoint, which connects when it is first used.
pub(super) async fn channel(
    endpoint: &str,
    tls: &Tls,
    dial_timeout: Duration,
) -> Result<Channel, AgentError> {
    let (uri, name) = address(endpoint)?;
    let connector = TlsConnector::from(Arc::new(config(tls).await?));
    let connect = tower::service_fn(move |uri: Uri| {
        let (connector, name) = (connector.clone(), name.clone());
        async move {
            let stream = dial(&uri, &connector, name).await?;
            std::io::Result::Ok(TokioIo::new(stream))
        }
    });
    let channel = Endpoint::from(uri)
        .connect_timeout(dial_timeout)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect_with_connector_lazy(connect);
    Ok(Channel::Tonic(channel))
}

async fn config(tls: &Tls) -> Result<ClientConfig, AgentError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let wrong = |error: String| AgentError::Config(format!("--cert, --key: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| AgentError::Internal(format!("set up TLS: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)));
    let mut config = match tls.parsed_identity().await? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| wrong(error.to_string()))?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes every certificate.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
