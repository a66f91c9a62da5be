//! Failure paths: each reason code that can be reached is provoked for real, on a world of its
//! own, and it is seen that the code is said, and that nothing was sent before it.

mod building;
mod control;
mod policy;
mod ready;
mod sending;
mod setup;
mod world;

use std::path::Path;

pub use setup::{ROOT, Seen, Setup};

use super::report::{Checks, LeftOut};
use crate::failure::Result;

/// One way to make a reason code happen.
#[derive(Clone, Copy)]
pub struct Provocation {
    /// The code.
    pub code: &'static str,
    /// What is done, for the report.
    pub how: &'static str,
    /// Does it to a sound stream.
    pub provoke: fn(&mut Setup) -> Result<Seen>,
    /// Nothing may be sent: it is seen before the first event.
    pub before_the_first_event: bool,
    /// The world has the raw parts that its views are made of.
    raw: bool,
}

type Provoke = fn(&mut Setup) -> Result<Seen>;

/// One that is seen before the first event.
const fn before(code: &'static str, how: &'static str, provoke: Provoke) -> Provocation {
    Provocation {
        code,
        how,
        provoke,
        before_the_first_event: true,
        raw: false,
    }
}

/// One that is seen by sending.
const fn behind(code: &'static str, how: &'static str, provoke: Provoke) -> Provocation {
    Provocation {
        before_the_first_event: false,
        ..before(code, how, provoke)
    }
}

/// One of a world with raw parts.
const fn of_raw(code: &'static str, how: &'static str, provoke: Provoke) -> Provocation {
    Provocation {
        raw: true,
        ..before(code, how, provoke)
    }
}

/// All of streams, worlds and buses.
pub fn provocations() -> impl Iterator<Item = &'static Provocation> {
    world::ALL
        .iter()
        .chain(policy::ALL)
        .chain(sending::ALL)
        .chain(building::ALL)
        .chain(control::ALL)
}

/// Does all of them, in folders below `dir`.
///
/// # Errors
/// Only for what keeps a provocation from being made: folders that cannot be written.
pub fn all(dir: &Path, run: &str, checks: &mut Checks, said: &mut dyn FnMut(&str)) -> Result<()> {
    let (plain, raw) = (dir.join("sound"), dir.join("sound-raw"));
    setup::template(&plain, false)?;
    setup::template(&raw, true)?;
    for (number, provocation) in provocations().enumerate() {
        said(provocation.code);
        let place = dir.join(format!("{number:02}"));
        let template = if provocation.raw { &raw } else { &plain };
        let mut setup = Setup::new(&place, template)?;
        let seen = (provocation.provoke)(&mut setup)?;
        judge(provocation, &seen, checks);
        setup.remove(&place)?;
    }
    setup::discard(&plain)?;
    setup::discard(&raw)?;
    ready::all(dir, run, checks, said)
}

/// Codes that nothing can provoke, or not here, and why.
const OUT_OF_REACH: &[(&str, &str)] = &[(
    "SCENARIO_RUN_ID_MISSING",
    "the schemas of message and facts require a scenario run id on both sides",
)];

/// What is not provoked.
pub fn left_out() -> Vec<LeftOut> {
    let all = OUT_OF_REACH.iter();
    all.map(|(name, why)| LeftOut {
        name: (*name).to_owned(),
        why: (*why).to_owned(),
    })
    .collect()
}

fn judge(provocation: &Provocation, seen: &Seen, checks: &mut Checks) {
    let Provocation { code, how, .. } = provocation;
    let name = format!("{code}: {how}");
    let right = seen.code.as_deref() == Some(code);
    let sent = provocation.before_the_first_event && seen.pushed > 0;
    let found = match (&seen.code, right) {
        (Some(_), true) => seen.message.clone(),
        (Some(other), false) => format!("{other}: {}", seen.message),
        (None, _) => seen.message.clone(),
    };
    let found = match sent {
        true => format!("{} events were sent, and then {found}", seen.pushed),
        false => found,
    };
    let expected = match provocation.before_the_first_event {
        true => format!("{code}, and nothing sent"),
        false => (*code).to_owned(),
    };
    checks.so(name, right && !sent, found, expected);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use worldstream_crds::Reason;

    use super::*;

    /// A code that is added is provoked, or it is said why not.
    #[test]
    fn every_code_has_its_provocation_or_its_reason() {
        let provoked = provocations().map(|it| it.code).chain(ready::codes());
        let provoked: BTreeSet<&str> = provoked.collect();
        let out: BTreeSet<&str> = OUT_OF_REACH.iter().map(|(code, _)| *code).collect();
        for reason in Reason::ALL {
            let code = reason.as_str();
            assert!(provoked.contains(code) != out.contains(code), "{code}");
        }
        assert!(
            provoked
                .iter()
                .all(|code| Reason::ALL.iter().any(|it| it.as_str() == *code))
        );
    }
}
