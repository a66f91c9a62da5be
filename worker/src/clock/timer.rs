//! Waiting for a moment of the monotonic clock with the precision of the kernel's timers. The
//! runtime's own timer counts whole milliseconds, which is late by more than a gate takes to
//! answer.

use std::io;

use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::mono::timespec;
use super::{Mono, Monotonic};

/// A timer on the current runtime.
#[derive(Debug)]
pub struct DueTimer {
    fd: AsyncFd<std::os::fd::OwnedFd>,
}

impl DueTimer {
    /// A timer; fails when the process has no file descriptors left. Needs a runtime with I/O.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // SAFETY: the timer owns its descriptor, which stays open and the same until it is
        // dropped with the timer, and nothing takes it out.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(DueTimer { fd })
    }

    /// Returns at the moment or after it, never before. May be cancelled at any time.
    pub async fn wait_until(&self, moment: Mono) -> io::Result<()> {
        while Mono::now() < moment {
            timerfd_settime(
                self.fd.get_ref(),
                TimerfdTimerFlags::ABSTIME,
                &Itimerspec {
                    it_interval: Timespec::default(),
                    it_value: timespec(moment),
                },
            )?;
            loop {
                let mut ready = self.fd.readable().await?;
                let mut expirations = [0u8; 8];
                match read(self.fd.get_ref(), &mut expirations) {
                    Ok(_) => break,
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(flavor = "current_thread")]
    async fn never_early_and_can_be_cancelled() {
        let timer = DueTimer::new().unwrap();
        let far = Mono::now() + Duration::from_secs(3600);
        tokio::select! {
            _ = timer.wait_until(far) => panic!("an hour passed"),
            _ = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
        for micros in [0, 50, 700, 3_000] {
            let moment = Mono::now() + Duration::from_micros(micros);
            timer.wait_until(moment).await.unwrap();
            assert!(Mono::now() >= moment);
        }
        timer.wait_until(Mono(0)).await.unwrap();
    }
}
