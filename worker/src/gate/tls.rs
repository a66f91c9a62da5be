//! Trust in a gate that speaks HTTPS: the built-in roots, or the certificates of a file.

use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use worldstream_crds::Reason;

use crate::failure::{Failure, Result};

/// A TLS configuration that trusts the certificates in `ca_file` (PEM) and no others, or without
/// one the built-in roots. Certificates and host names are always verified.
///
/// # Errors
/// `STREAM_FAILED` for `gate.caFile` where the file cannot be read, holds no certificate, or one
/// that cannot be trusted.
pub fn config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>> {
    https(ca_file, "gate.caFile").map(Arc::new)
}

/// The same for whoever else speaks HTTPS; `field` names the file in the plan.
pub fn https(ca_file: Option<&Path>, field: &str) -> Result<ClientConfig> {
    let mut config = trusting(ca_file, field)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The same without a protocol above TLS.
pub fn trusting(ca_file: Option<&Path>, field: &str) -> Result<ClientConfig> {
    let roots = match ca_file {
        Some(path) => roots_of(path, field)?,
        None => RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        },
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(Reason::StreamFailed, "TLS").cause(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn roots_of(path: &Path, field: &str) -> Result<RootCertStore> {
    let bad = || Failure::new(Reason::StreamFailed, path.display().to_string()).field(field);
    let text = std::fs::read(path).map_err(|error| {
        bad()
            .found("a file that cannot be read")
            .expected("certificates in PEM")
            .cause(&error)
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| {
            bad()
                .found("a text that is no PEM")
                .expected("certificates in PEM")
                .detail(error.to_string())
        })?;
        roots.add(certificate).map_err(|error| {
            bad()
                .found("a certificate that cannot be used")
                .expected("certificates that can be trusted")
                .cause(&error)
        })?;
    }
    if roots.is_empty() {
        return Err(bad()
            .found("no certificate")
            .expected("certificates in PEM"));
    }
    Ok(roots)
}
