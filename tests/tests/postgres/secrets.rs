//! Connections that are not to be trusted, and what is told of a connection string: never its
//! password.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use worldstream_tests::postgres::PASSWORD;
use worldstream_tests::{Finished, GateProcess};

use crate::bed::{Bed, EVENTS, assert_whole};

/// A certificate of an authority of its own for `localhost`: authority, certificate, key.
fn certificate() -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    (authority.pem(), server.pem(), key.serialize_pem())
}

fn refused(bed: &Bed, gate: &GateProcess, dsn: &str, ca: Option<&PathBuf>, text: &str) {
    let mut stream = bed.stream_by(&gate.url, dsn);
    if let Some(ca) = ca {
        let ca = ca.display().to_string();
        stream = stream.set("checkpoints.postgres.caFile", ca);
    }
    let ended = stream.finish(10);
    assert!(ended.stderr.contains(text), "{text}: {ended:#?}");
    assert!(!ended.stderr.contains(PASSWORD), "{ended:#?}");
    assert_eq!(gate.pushes(), 0);
}

#[test]
fn certificates_are_verified_in_full() {
    let mut bed = Bed::new();
    let gate = GateProcess::start(bed.path(), &[]);
    let named = bed.server.address().replace("127.0.0.1", "localhost");
    let secure = bed.server.dsn_by("stream", &named) + "?sslmode=require";
    let elsewhere = bed.server.dsn() + "?sslmode=verify-full";
    refused(&bed, &gate, &secure, None, "server does not support TLS");

    let (authority, certificate, key) = certificate();
    let (other, ..) = self::certificate();
    let file = |name: &str, text: &str| {
        let path = bed.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, other) = (file("ca.pem", &authority), file("other.pem", &other));
    let certificate = bed.server.private_file("server.crt", &certificate);
    let key = bed.server.private_file("server.key", &key);
    bed.server.append(
        "postgresql.conf",
        &format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
            certificate.display(),
            key.display()
        ),
    );
    bed.server.append(
        "pg_hba.conf",
        "hostssl all all 127.0.0.1/32 scram-sha-256\n",
    );
    bed.server.stop("INT");
    bed.server.launch();
    refused(&bed, &gate, &secure, None, "invalid peer certificate");
    refused(
        &bed,
        &gate,
        &secure,
        Some(&other),
        "invalid peer certificate",
    );
    refused(
        &bed,
        &gate,
        &elsewhere,
        Some(&ca),
        "invalid peer certificate",
    );
    refused(
        &bed,
        &gate,
        &secure,
        Some(&bed.path().join("absent.pem")),
        "caFile",
    );
    let stream = bed
        .stream_by(&gate.url, &secure)
        .set("checkpoints.postgres.caFile", ca.display().to_string());
    assert_whole(&stream.finish(0).json());
    // As psycopg has it, in the string.
    let named = format!("{secure}&sslrootcert={}", ca.display());
    assert_whole(&bed.stream_by(&gate.url, &named).finish(0).json());
    assert_eq!(gate.end().len() as u64, EVENTS);
}

#[test]
fn a_connection_string_that_is_missing_or_wrong() {
    let bed = Bed::new();
    let gate = GateProcess::start(bed.path(), &[]);
    let stream = bed.stream(&gate.url);
    let check = |ended: Finished, texts: &[&str]| {
        for text in texts {
            assert!(ended.stderr.contains(text), "{text}: {ended:#?}");
        }
        assert!(!ended.stderr.contains("hush"), "{ended:#?}");
        assert_eq!(gate.pushes(), 0);
    };
    let missing = "CHECKPOINT_DSN_MISSING";
    let none = stream
        .clone()
        .set("checkpoints.postgres", serde_json::json!({}));
    check(none.finish(10), &[missing, "spec.checkpoints.postgres.dsn"]);
    let unset = serde_json::json!({"dsn": {"env": "A_VARIABLE_THAT_IS_NOT_SET"}});
    let unset = stream.clone().set("checkpoints.postgres", unset);
    check(unset.finish(10), &[missing, "A_VARIABLE_THAT_IS_NOT_SET"]);
    let file = bed.path().join("empty");
    std::fs::write(&file, "\n").unwrap();
    let empty = serde_json::json!({"dsn": {"file": file.display().to_string()}});
    let empty = stream.clone().set("checkpoints.postgres", empty);
    check(empty.finish(10), &[missing, "empty"]);
    let both = stream
        .clone()
        .set("checkpoints.file", serde_json::json!({}));
    check(both.finish(2), &["spec.checkpoints.postgres"]);

    for (dsn, texts) in [
        (
            bed.server.dsn().replace(PASSWORD, "hush-another"),
            &["password authentication failed", "28P01"][..],
        ),
        (
            bed.server.dsn().replace("/checkpoints", "/absent"),
            &["does not exist", "3D000"],
        ),
        (
            format!("postgres:/stream:{PASSWORD}@nowhere"),
            &["no connection string", "checkpoints.postgres.dsn"],
        ),
        (
            format!("{}?sslkey=/hush", bed.server.dsn()),
            &["sslkey", "not supported"],
        ),
    ] {
        check(bed.stream_by(&gate.url, &dsn).finish(10), texts);
    }
    // A password that was changed is read again with the next connection.
    assert_whole(&bed.stream(&gate.url).finish(0).json());
}
