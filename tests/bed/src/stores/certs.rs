//! Certificates for stores with TLS: an authority of the test's own.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::error::{Doing as _, Result};

/// An authority, whose certificate clients are given as root.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, as PEM.
    pub pem: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Result<Authority> {
        let doing = "making an authority";
        let key = KeyPair::generate().doing(doing)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of the test bed");
        let certificate = params.self_signed(&key).doing(doing)?;
        Ok(Authority {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Writes a server's certificate and key for these names and addresses to `certificate` and
    /// `key`, and the authority's own certificate to `ca.crt` beside them, whose path is given.
    pub fn write(&self, names: &[String], certificate: &Path, key: &Path) -> Result<PathBuf> {
        let doing = "making a certificate";
        let pair = KeyPair::generate().doing(doing)?;
        let params = CertificateParams::new(names).doing(doing)?;
        let made = params.signed_by(&pair, &self.issuer).doing(doing)?;
        let root = certificate.with_file_name("ca.crt");
        for (file, text) in [
            (certificate, made.pem()),
            (key, pair.serialize_pem()),
            (&root, self.pem.clone()),
        ] {
            std::fs::write(file, text).doing(format_args!("writing {}", file.display()))?;
        }
        Ok(root)
    }
}
