//! Who may read what, and what is said when it is not so.

use std::time::Duration;

use worldstream::failure::Failure;
use worldstream::plan::SecretSource;
use worldstream_crds::{ExitCode, Reason};
use worldstream_tests::golden;
use worldstream_tests::inside::{self, Inside};
use worldstream_tests::s3::Minio;

use crate::bed::{self, BUCKET, FRAUD, admitted, done, expected, same};

const WORLD: &str = "s3://oracle-store/runs/world-a";

fn world(minio: &Minio) -> Inside {
    minio.put_folder(BUCKET, "runs/world-a", &golden().join("world-a"));
    bed::inside(minio, WORLD, &[FRAUD])
}

#[track_caller]
fn refused(inside: &Inside) -> Failure {
    let failure = inside::run(inside.plan.clone()).map(|_| ()).unwrap_err();
    assert_eq!(failure.reason(), Reason::RunReceiptUnreadable, "{failure}");
    assert_eq!(inside.gate.summary().pushes, 0);
    failure
}

#[track_caller]
fn says(failure: &Failure, texts: &[&str]) {
    for text in texts {
        assert!(failure.message().contains(text), "no {text:?}: {failure}");
    }
}

#[test]
fn what_is_refused_is_named_and_not_tried_again() {
    let minio = Minio::start();
    let whole = world(&minio);
    done(&whole.run());
    let once = "after 1 of at most 50 attempts, in ";

    let missing = bed::inside(&minio, "s3://no-such-bucket/runs/world-a", &[FRAUD]);
    let failure = refused(&missing);
    says(
        &failure,
        &[
            "404 NoSuchBucket",
            "bucket no-such-bucket",
            once,
            "of at most 60s",
        ],
    );
    assert_eq!(failure.exit_code(), ExitCode::FailClosed);

    let nowhere = bed::inside(&minio, "s3://oracle-store/runs/none", &[FRAUD]);
    says(&refused(&nowhere), &["found no such file"]);

    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "another-secret").unwrap();
    let mut wrong = bed::inside(&minio, WORLD, &[FRAUD]);
    let own = wrong.plan.world.s3.credentials.as_mut().unwrap();
    own.secret_access_key = SecretSource::File(secret.clone());
    let failure = refused(&wrong);
    says(
        &failure,
        &["403 SignatureDoesNotMatch", "(world.s3.credentials)", once],
    );
    assert!(!failure.to_string().contains("another-secret"), "{failure}");

    let own = wrong.plan.world.s3.credentials.as_mut().unwrap();
    own.access_key_id = SecretSource::File(secret);
    says(&refused(&wrong), &["403 InvalidAccessKeyId", once]);

    wrong.plan.world.s3.credentials = None;
    wrong.plan.world.s3.anonymous = true;
    says(
        &refused(&wrong),
        &["403 AccessDenied", "an anonymous request", once],
    );

    minio.open_to_all(BUCKET);
    done(&wrong.run());
    same(
        &admitted(&wrong, FRAUD),
        &expected("world-a", FRAUD),
        "anonymous",
    );
}

#[test]
fn credentials_that_cannot_be_read_are_named() {
    let minio = Minio::start();
    let mut inside = world(&minio);
    let own = inside.plan.world.s3.credentials.as_mut().unwrap();
    own.secret_access_key = SecretSource::Env("A_VARIABLE_THAT_IS_NOT_SET".into());
    let failure = inside::run(inside.plan.clone()).map(|_| ()).unwrap_err();
    says(
        &failure,
        &[
            "credentials.secretAccessKey",
            "A_VARIABLE_THAT_IS_NOT_SET",
            "not set",
        ],
    );
}

#[test]
fn nobody_there_is_unavailable_after_a_bound() {
    let mut minio = Minio::start();
    let mut inside = world(&minio);
    minio.minio.server.kill().unwrap();
    inside.plan.world.s3.unavailable_for = Duration::from_secs(2);
    let failure = refused(&inside);
    assert_eq!(failure.exit_code(), ExitCode::Unavailable);
    says(
        &failure,
        &[
            "Connection refused",
            "of at most 50 attempts, in ",
            "of at most 2s",
        ],
    );
}

#[test]
fn https_is_trusted_by_own_roots_alone() {
    let minio = Minio::start_tls();
    let mut inside = world(&minio);
    done(&inside.run());
    same(
        &admitted(&inside, FRAUD),
        &expected("world-a", FRAUD),
        "https",
    );

    // Without them nothing is sent, and it is not tried for long.
    inside.plan.world.s3.ca_file = None;
    let failure = inside::run(inside.plan.clone()).map(|_| ()).unwrap_err();
    says(
        &failure,
        &["invalid peer certificate", "after 1 of at most 50 attempts"],
    );
    assert_eq!(failure.exit_code(), ExitCode::FailClosed);

    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, "no roots").unwrap();
    inside.plan.world.s3.ca_file = Some(roots);
    let failure = inside::run(inside.plan.clone()).map(|_| ()).unwrap_err();
    says(&failure, &["world.s3.caFile", "roots.pem"]);
}
