//! Cases of a suite that share what is costly to set up: run beside each other, each told of when it
//! ends, and one that fails takes none of the others with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A case: its name, and what it does with what all share.
pub type Case<T> = (&'static str, fn(&T));

/// The cases that are wanted, all or those that `CASES=pace,away` names, and what went wrong.
#[derive(Debug)]
pub struct Cases {
    only: String,
    /// Those that are wanted only by name, or where suites run in their long form.
    long: &'static [&'static str],
    wrong: Mutex<Vec<String>>,
}

impl Cases {
    /// As the environment asks for them.
    pub fn asked_for() -> Cases {
        Cases {
            only: std::env::var("CASES").unwrap_or_default(),
            long: &[],
            wrong: Mutex::default(),
        }
    }

    /// The same without these, unless they are named or suites run in their long form.
    pub fn with_long(self, long: &'static [&'static str]) -> Cases {
        Cases { long, ..self }
    }

    /// Whether a case is wanted.
    pub fn wants(&self, name: &str) -> bool {
        let named = self.only.split(',').any(|it| it == name);
        let short = crate::long() || !self.long.contains(&name);
        named || self.only.is_empty() && short
    }

    /// Runs the wanted ones of these beside each other, each in a thread that `begin` prepares.
    pub fn beside<T: Sync>(&self, all: &T, begin: impl Fn(&T) + Sync, cases: &[Case<T>]) {
        std::thread::scope(|scope| {
            for (name, case) in cases.iter().filter(|(name, _)| self.wants(name)) {
                let begin = &begin;
                scope.spawn(move || {
                    self.try_it(name, || {
                        begin(all);
                        case(all);
                    })
                });
            }
        });
    }

    /// Asserts that nothing went wrong.
    #[track_caller]
    pub fn end(self) {
        let wrong = self.wrong.into_inner();
        let wrong = wrong.unwrap_or_else(PoisonError::into_inner);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn try_it(&self, name: &str, case: impl FnOnce()) {
        let began = Instant::now();
        let end = catch_unwind(AssertUnwindSafe(case));
        let took = began.elapsed().as_secs();
        let said = if end.is_ok() { "ok" } else { "FAILED" };
        println!("{name}: {said} after {took} s");
        if let Err(panic) = end {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("a panic without words");
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            wrong.push(format!("{name}: {text}"));
        }
    }
}
