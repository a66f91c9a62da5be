//! What is no document.

use super::*;

pub(super) fn cases() -> Vec<Case> {
    let usage = "usage";
    let ok = stream(&[]);
    vec![
        bad_file("", usage, &["s.yaml: holds no document"]),
        bad_file("# nothing\n---\n", usage, &["s.yaml: holds no document"]),
        bad_file("hello", usage, &["s.yaml:1: is no document"]),
        bad_file("- a\n- b\n", usage, &["s.yaml:1: is no document"]),
        bad_file("a: [1, 2\nb: 3\n", usage, &["s.yaml:"]),
        bad_file("a: 1\n\tb: 2\n", usage, &["s.yaml:1: while", "a tab"]),
        bad_file("kind: \"WorldStream\n", usage, &["s.yaml:"]),
        bad_file(
            "spec: {}\n",
            usage,
            &[
                "kind: found \"\"",
                "WorldStream, StreamProfile or ReadyTrigger",
            ],
        ),
        bad_file(
            &but("kind: WorldStream", "kind: Worldstream"),
            usage,
            &["s.yaml:2: kind: found \"Worldstream\""],
        ),
        bad_file(
            &but("kind: WorldStream", "kind: Pod"),
            usage,
            &["s.yaml:2: kind: found \"Pod\""],
        ),
        bad_file(
            &but("v1alpha1", "v1"),
            usage,
            &[
                "s.yaml:1: apiVersion: found \"worldstream.io/v1\"",
                "v1alpha1",
            ],
        ),
        bad_file(
            &but("apiVersion: worldstream.io/v1alpha1\n", ""),
            usage,
            &["apiVersion: found \"\""],
        ),
        bad_file(
            &but("metadata:\n  name: a\n", ""),
            usage,
            &["the field `metadata` is missing"],
        ),
        bad_file(
            &but("  name: a", "  nam: a"),
            usage,
            &["s.yaml:4: metadata.nam: unknown field", "name"],
        ),
        bad_file(
            &but("  name: a", "  name: A_b"),
            usage,
            &["s.yaml:4: metadata.name: found \"A_b\""],
        ),
        bad_file(
            "apiVersion: worldstream.io/v1alpha1\nkind: WorldStream\nmetadata: {name: a}\n",
            usage,
            &["the field `spec` is missing"],
        ),
        bad_file(
            &format!("{ok}extra: 1\n"),
            usage,
            &["s.yaml:9: extra: unknown field"],
        ),
        bad_file(
            &format!("{ok}kind: WorldStream\n"),
            usage,
            &["s.yaml:9", "kind"],
        ),
        bad_file(
            &format!("{ok}---\n{ok}"),
            usage,
            &["s.yaml:13: metadata.name: a second WorldStream"],
        ),
        bad_file(
            &format!("{ok}---\n{}---\n{}", profile(&[GATE]), profile(&[GATE])),
            usage,
            &["metadata.name: a second StreamProfile \"mine\""],
        ),
        bad_file(
            &format!("{ok}---\n{}", profile(&["gates: {}"])),
            usage,
            &["s.yaml:16: spec.gates: unknown field"],
        ),
    ]
}
