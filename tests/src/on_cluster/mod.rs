//! Suites on a real cluster: the operator as its chart installs it, a namespace a case, and cases
//! that run beside each other.

mod operator;
mod space;

pub use operator::{Operator, SYSTEM};
pub use space::{BASELINE, FRAUD, KEY, Space, condition, traffic_alone};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// A case: its name, and what it does with the operator.
pub type Case = (&'static str, fn(&Operator));

/// Installs the operator and runs the cases of each group beside each other, a group after the
/// other; `CASES=a,b` runs only these. Panics with all that went wrong.
pub fn run(groups: &[&[Case]]) {
    let only = std::env::var("CASES").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|it| it == name);
    let operator = Operator::install();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    for group in groups {
        std::thread::scope(|scope| {
            for (name, case) in group.iter().filter(|(name, _)| wanted(name)) {
                let (operator, wrong) = (&operator, &wrong);
                let work = move || {
                    let began = Instant::now();
                    operator.bed.place().enter().unwrap();
                    let end = catch_unwind(AssertUnwindSafe(|| case(operator)));
                    let took = began.elapsed().as_secs();
                    println!(
                        "{name}: {} after {took} s",
                        if end.is_ok() { "ok" } else { "FAILED" }
                    );
                    if let Err(panic) = end {
                        let text = panic
                            .downcast_ref::<String>()
                            .map(String::as_str)
                            .or_else(|| panic.downcast_ref::<&str>().copied())
                            .unwrap_or("a panic without words");
                        wrong.lock().unwrap().push(format!("{name}: {text}"));
                    }
                };
                scope.spawn(work);
            }
        });
    }
    drop(operator);
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
