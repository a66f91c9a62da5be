//! HTTPS: with a certificate authority of the test's own, and without.

use std::convert::Infallible;
use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;
use worldstream_crds::Reason;

use super::*;
use crate::gate::RetryReason;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config).into()
    }
}

/// A gate made of hyper's server; the names that clients asked for are kept.
async fn start(acceptor: TlsAcceptor) -> (SocketAddr, Arc<Mutex<Vec<Option<String>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let names: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let kept = names.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, kept) = (acceptor.clone(), kept.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                kept.lock().unwrap().push(name);
                let service = service_fn(|request: Request<hyper::body::Incoming>| async {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    assert_eq!(body, "{\"n\":1}");
                    let answer = Full::new(Bytes::from_static(b"{\"decision\":\"ADMIT\"}"));
                    Ok::<_, Infallible>(Response::new(answer))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    (address, names)
}

fn trusting(url: &str, dir: &Path, pem: &str) -> GatePlan {
    let mut plan = plan(url);
    let path = dir.join("ca.pem");
    std::fs::write(&path, pem).unwrap();
    plan.ca_file = Some(path);
    plan.retry.attempts = 2;
    plan
}

#[tokio::test]
async fn a_certificate_of_the_plans_authority_is_trusted_and_the_connection_kept() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    // Several certificates, and text between them.
    let pem = format!("# ours\n{}\n{}", Authority::new().pem, authority.pem);
    for (host, sni) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        let (address, names) = start(authority.acceptor(host)).await;
        let url = format!("https://{host}:{}/v1/ingest/push", address.port());
        let client = GateClient::new(&trusting(&url, dir.path(), &pem)).unwrap();
        let mut connection = client.connection();
        for _ in 0..50 {
            let end = connection
                .push(Bytes::from_static(b"{\"n\":1}"), &Stop::new())
                .await;
            assert_eq!(taken(end), (Some(Decision::Admit), 0));
        }
        assert_eq!(client.counts().connections, 1);
        assert_eq!(*names.lock().unwrap(), [sni.map(str::to_owned)]);
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_or_of_another_authority_is_not() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let other = Authority::new();
    for (name, pem) in [
        ("gate.example", Some(authority.pem.as_str())),
        ("localhost", Some(other.pem.as_str())),
        ("localhost", None),
    ] {
        let (address, names) = start(authority.acceptor(name)).await;
        let url = format!("https://localhost:{}/v1/ingest/push", address.port());
        let mut plan = trusting(&url, dir.path(), pem.unwrap_or_default());
        if pem.is_none() {
            plan.ca_file = None;
        }
        let client = GateClient::new(&plan).unwrap();
        let failure = failed(push(&client, "{\"n\":1}").await);
        assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
        assert!(failure.to_string().contains("certificate"), "{failure}");
        assert_eq!(client.counts().retries_of(RetryReason::Tls), 2);
        assert!(names.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_gate_without_tls_is_not_spoken_to_in_clear() {
    let gate = Gate::answering(Vec::new()).await;
    let mut plan = plan(&gate.url().replace("http:", "https:"));
    plan.retry.attempts = 1;
    plan.timeout = Duration::from_millis(200);
    let client = GateClient::new(&plan).unwrap();
    let failure = failed(push(&client, "{}").await);
    assert_eq!(failure.reason(), Reason::IgPushRetryExhausted);
    assert!(gate.seen().is_empty());
}

#[tokio::test]
async fn stop_does_not_wait_for_a_connection_to_be_made() {
    // It listens, and never begins to talk.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = GateClient::new(&plan(&format!("https://{address}/v1/ingest/push"))).unwrap();
    let (stop, mut connection) = (Stop::new(), client.connection());
    let (end, _held) = tokio::join!(connection.push(Bytes::from_static(b"{}"), &stop), async {
        let held = listener.accept().await.unwrap();
        stop.set();
        held
    });
    assert!(matches!(end, PushEnd::Interrupted), "{end:?}");
    assert_eq!(client.counts().retries_total(), 0);
}

#[test]
fn a_ca_file_without_certificates_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let url = "https://gate/v1/ingest/push";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    for pem in ["", "no PEM at all", broken, torn] {
        let failure = match GateClient::new(&trusting(url, dir.path(), pem)) {
            Ok(_) => panic!("{pem:?} was taken"),
            Err(failure) => failure,
        };
        assert_eq!(failure.reason(), Reason::StreamFailed);
        assert!(failure.to_string().contains("gate.caFile"), "{failure}");
        assert!(failure.to_string().contains("ca.pem"), "{failure}");
    }
    let mut plan = plan(url);
    plan.ca_file = Some(dir.path().join("absent"));
    assert!(GateClient::new(&plan).is_err());
}
