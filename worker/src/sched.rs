//! What threads ask of the kernel's scheduler. Requests only: a kernel that does not know them, or a
//! sandbox that refuses them, changes how even a stream is and nothing else.

/// `struct sched_attr` of `sched_setattr(2)`, in its first version.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SCHED_OTHER: u32 = 0;
const SCHED_BATCH: u32 = 3;
/// The shortest slice that the kernel gives.
const SHORT_SLICE_NANOS: u64 = 100_000;

/// This thread works in short turns that must begin when they are due: it shall not wait until
/// another thread's slice is over, as it would for milliseconds on a machine whose cores are busy.
pub fn short_turns() {
    set(&Attributes {
        policy: SCHED_OTHER,
        runtime: SHORT_SLICE_NANOS,
        ..Attributes::default()
    });
}

/// This thread works ahead: when it wakes it shall not push a thread aside that is at work.
pub fn works_ahead() {
    set(&Attributes {
        policy: SCHED_BATCH,
        ..Attributes::default()
    });
}

#[cfg(target_os = "linux")]
fn set(attributes: &Attributes) {
    // SAFETY: takes no pointer.
    let now = unsafe { libc::sched_getscheduler(0) };
    if ![libc::SCHED_OTHER, libc::SCHED_BATCH].contains(&now) {
        // Somebody has decided otherwise.
        return;
    }
    let attributes = Attributes {
        size: size_of::<Attributes>() as u32,
        // SAFETY: takes no pointer.
        nice: unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
        ..*attributes
    };
    // SAFETY: the pointer is to a value of the size that it names, which outlives the call; 0 is
    // the calling thread, and no flags are known to the call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result != 0 {
        tracing::debug!(error = %std::io::Error::last_os_error(), "not scheduled as asked");
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_: &Attributes) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_changes_neither_niceness_nor_what_can_be_asked_next() {
        std::thread::spawn(|| {
            // SAFETY: takes no pointer.
            let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
            // SAFETY: takes no pointer.
            let policy = || unsafe { libc::sched_getscheduler(0) };
            let before = nice();
            for _ in 0..2 {
                works_ahead();
                assert_eq!((policy(), nice()), (libc::SCHED_BATCH, before));
                short_turns();
                assert_eq!((policy(), nice()), (libc::SCHED_OTHER, before));
            }
        })
        .join()
        .unwrap();
    }
}
