//! Broken input, a case each: what must be said of it.

mod documents;
mod flags;
mod policy;
mod profile;
mod stream;

use super::*;

/// A sound stream in which something is replaced.
fn but(from: &str, to: &str) -> String {
    let ok = stream(&[]);
    assert!(ok.contains(from));
    ok.replacen(from, to, 1)
}

fn broken() -> Vec<Case> {
    [
        documents::cases(),
        stream::cases(),
        profile::cases(),
        policy::cases(),
        flags::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn broken_input_is_refused_by_place_and_cause() {
    let cases = broken();
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let input = format!("case {index}: {:?} {:?}", case.args, case.files.first());
        match run(case) {
            Ok(_) => wrong.push(format!("{input}\n   is accepted")),
            Err((code, text)) => {
                let missing: Vec<_> = case
                    .parts
                    .iter()
                    .filter(|part| !text.contains(**part))
                    .collect();
                if code != case.code || !missing.is_empty() {
                    wrong.push(format!(
                        "{input}\n   {code} {text}\n   without {missing:?}, wanted {}",
                        case.code
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
