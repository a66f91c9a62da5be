//! Who holds a checkpoint, where that is written down: this process, or the worker of a Job.

use std::fmt;

use super::lock;

/// A holder of leases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// For people: `process 17 on host-a since 2026-01-01T00:00:00.000000Z`, or
    /// `pod streams/w-0-x1 (uid 5d8a…) of job 77ab…/0`.
    pub name: String,
    /// The Job and the index in it that this process works for; none outside of a cluster. A
    /// Job runs one worker of an index at a time, so that a holder of the same Job and index is
    /// gone, or about to be fenced.
    pub job: Option<String>,
}

impl Holder {
    /// This process, by its environment: `JOB_UID` (or `POD_NAMESPACE` and `JOB_NAME`) and
    /// `JOB_COMPLETION_INDEX` name the Job, `POD_NAMESPACE`, `POD_NAME` and `POD_UID` the pod.
    pub fn of_this_process() -> Holder {
        Holder::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Holder {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let namespace = given("POD_NAMESPACE");
        let in_namespace = |name: String| match &namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name,
        };
        let job = given("JOB_UID").or_else(|| given("JOB_NAME").map(in_namespace));
        let job = job.map(|job| {
            let index = given("JOB_COMPLETION_INDEX").unwrap_or_else(|| "0".to_owned());
            format!("{job}/{index}")
        });
        let mut name = match given("POD_NAME") {
            Some(pod) => format!("pod {}", in_namespace(pod)),
            None => lock::Holder::of_this_process().to_string(),
        };
        if let Some(uid) = given("POD_UID") {
            name.push_str(&format!(" (uid {uid})"));
        }
        if let Some(job) = &job {
            name.push_str(&format!(" of job {job}"));
        }
        Holder { name, job }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_of_a_job_is_its_job_and_index() {
        let environment = |uid: &'static str| {
            move |name: &str| {
                let value = match name {
                    "POD_NAMESPACE" => "streams",
                    "POD_NAME" => "w-0-x1",
                    "POD_UID" => "5d8a",
                    "JOB_NAME" => "w",
                    "JOB_UID" => uid,
                    "JOB_COMPLETION_INDEX" => "3",
                    _ => return None,
                };
                Some(value.to_owned())
            }
        };
        let holder = Holder::of(environment("77ab"));
        assert_eq!(holder.job.as_deref(), Some("77ab/3"));
        assert_eq!(holder.name, "pod streams/w-0-x1 (uid 5d8a) of job 77ab/3");
        let unnamed = Holder::of(environment(""));
        assert_eq!(unnamed.job.as_deref(), Some("streams/w/3"));
        let alone = Holder::of(|_| None);
        assert_eq!(alone.job, None);
        assert!(alone.name.contains(&std::process::id().to_string()));
    }
}
