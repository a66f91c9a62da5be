//! Rate plans: caps of events a second over time, for one output, shared by its lanes (contracts
//! section 6). Pure: time is handed in.

use std::time::Duration;

use crate::plan::{PacePlan, RateStep};

use super::Mono;

/// How much of a second's events may come at once while an output catches up.
const CATCH_UP_BURST_SECONDS: f64 = 0.01;

/// What bounds how fast one output sends, all its lanes together: the rate plan at all times, and
/// the rate of catching up while a lane is behind.
#[derive(Debug, Clone)]
pub struct OutputRate {
    plan: RateLimiter,
    catch_up: RateLimiter,
}

impl OutputRate {
    /// The bounds of a plan. `share` is the part of them that this process may use.
    pub fn new(pace: &PacePlan, share: f64) -> Self {
        let catch_up = pace.catch_up_eps.map(|target_eps| RateStep {
            start_offset_seconds: 0.0,
            target_eps,
            burst_seconds: CATCH_UP_BURST_SECONDS,
            initial_tokens: None,
        });
        OutputRate {
            plan: RateLimiter::new(&pace.rate_plan, share),
            catch_up: RateLimiter::new(catch_up.as_slice(), share),
        }
    }

    /// Time runs from now on, or stands still (see [`RateLimiter::runs`]).
    pub fn runs(&mut self, now: Mono, runs: bool) {
        self.plan.runs(now, runs);
        self.catch_up.runs(now, runs);
    }

    /// Goes on where a lane's checkpoint left the plan, after so much running time.
    pub fn go_on(&mut self, running: Duration) {
        self.plan.go_on(running);
    }

    /// The plan's running time; zero without a plan.
    pub fn running(&self, now: Mono) -> Duration {
        self.plan.running(now)
    }

    /// When the next event may be sent, at the earliest.
    pub fn ready_at(&mut self, now: Mono, catching_up: bool) -> Mono {
        let ready = self.plan.ready_at(now);
        match catching_up {
            true => ready.max(self.catch_up.ready_at(now)),
            false => ready,
        }
    }

    /// An event is sent now, as [`OutputRate::ready_at`] allowed.
    pub fn take(&mut self, catching_up: bool) {
        self.plan.take();
        if catching_up {
            self.catch_up.take();
        }
    }
}

/// A token bucket whose rate follows a plan. Its time is *running* time: it counts from the
/// stream's start and stands still in a pause, so a pause grants no tokens.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    steps: Vec<RateStep>,
    /// The part of the plan's rate that this process may use: 1, or 1/n with one lane of n.
    share: f64,
    step: Option<usize>,
    tokens: f64,
    /// Running time up to `seen`, in nanoseconds.
    running: i64,
    /// When running time was last brought up to date.
    seen: Mono,
    /// Whether time has run since then.
    runs: bool,
}

impl RateLimiter {
    /// A limiter for a plan whose steps are in order. An empty plan limits nothing.
    pub fn new(steps: &[RateStep], share: f64) -> Self {
        RateLimiter {
            steps: steps.to_vec(),
            share,
            step: None,
            tokens: 0.0,
            running: 0,
            seen: Mono(0),
            runs: false,
        }
    }

    /// Time runs from now on, or stands still. It stands until it is first told to run.
    pub fn runs(&mut self, now: Mono, runs: bool) {
        self.advance(now);
        self.runs = runs;
    }

    /// Goes on after so much running time, in the step that belongs to it, with an empty bucket:
    /// what was granted until then counts as used. Of several words the latest time counts.
    pub fn go_on(&mut self, running: Duration) {
        let running = i64::try_from(running.as_nanos()).unwrap_or(i64::MAX);
        self.begin_due_steps(running.max(self.running));
        self.tokens = 0.0;
    }

    /// Running time; zero where there is no plan to count it for.
    pub fn running(&self, now: Mono) -> Duration {
        let since = match self.runs {
            true => now.since(self.seen),
            false => Duration::ZERO,
        };
        match self.steps.is_empty() {
            true => Duration::ZERO,
            false => nanos(self.running) + since,
        }
    }

    /// When the next event may be sent, at the earliest: `now`, or a later moment, if time goes
    /// on as it does.
    pub fn ready_at(&mut self, now: Mono) -> Mono {
        self.advance(now);
        let mut wait = 0;
        let mut tokens = self.tokens;
        let mut at = self.step;
        let mut running = self.running;
        loop {
            let Some(index) = at else {
                return now + nanos(wait);
            };
            let step = &self.steps[index];
            let eps = step.target_eps * self.share;
            let next_start = self.start_of(index + 1);
            if tokens >= 1.0 {
                return now + nanos(wait);
            }
            let missing = if eps > 0.0 {
                ((1.0 - tokens) / eps * 1e9).ceil()
            } else {
                f64::INFINITY
            };
            match next_start {
                // The next step begins before a token has come together.
                Some(start) if running as f64 + missing > start as f64 => {
                    let span = start - running;
                    tokens = (tokens + span as f64 / 1e9 * eps).min(capacity(step, self.share));
                    if let Some(initial) = self.steps[index + 1].initial_tokens {
                        tokens = (initial * self.share)
                            .min(capacity(&self.steps[index + 1], self.share));
                    }
                    wait += span;
                    running = start;
                    at = Some(index + 1);
                }
                _ if missing.is_finite() => {
                    return now + nanos(wait.saturating_add(missing as i64));
                }
                _ => return Mono::NEVER,
            }
        }
    }

    /// Takes a token for an event that is sent now. Call after [`RateLimiter::ready_at`] said
    /// that it may be.
    pub fn take(&mut self) {
        if self.step.is_some() {
            self.tokens -= 1.0;
        }
    }

    fn start_of(&self, index: usize) -> Option<i64> {
        let step = self.steps.get(index)?;
        Some((step.start_offset_seconds * 1e9) as i64)
    }

    /// Brings running time and tokens up to `now`, step by step.
    fn advance(&mut self, now: Mono) {
        let elapsed = match self.runs {
            true => now.0.saturating_sub(self.seen.0).max(0),
            false => 0,
        };
        self.seen = now;
        self.begin_due_steps(self.running.saturating_add(elapsed));
    }

    fn begin_due_steps(&mut self, end: i64) {
        loop {
            let next = self.step.map_or(0, |step| step + 1);
            let until = self.start_of(next).filter(|&start| start <= end);
            let stop = until.unwrap_or(end);
            if let Some(index) = self.step {
                let step = &self.steps[index];
                let gained = (stop - self.running) as f64 / 1e9 * step.target_eps * self.share;
                self.tokens = (self.tokens + gained).min(capacity(step, self.share));
            }
            self.running = stop;
            if until.is_none() {
                return;
            }
            self.step = Some(next);
            if let Some(initial) = self.steps[next].initial_tokens {
                self.tokens = (initial * self.share).min(capacity(&self.steps[next], self.share));
            }
        }
    }
}

/// A bucket holds at least one token, or nothing would ever be sent.
fn capacity(step: &RateStep, share: f64) -> f64 {
    (step.target_eps * step.burst_seconds * share).max(1.0)
}

fn nanos(value: i64) -> Duration {
    Duration::from_nanos(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(start: f64, eps: f64, burst: f64, initial: Option<f64>) -> RateStep {
        RateStep {
            start_offset_seconds: start,
            target_eps: eps,
            burst_seconds: burst,
            initial_tokens: initial,
        }
    }

    /// Sends as fast as it may for `seconds`, and says when each event went.
    fn send(limiter: &mut RateLimiter, from: Mono, seconds: f64) -> Vec<f64> {
        let end = from.0 + (seconds * 1e9) as i64;
        let mut now = from;
        limiter.runs(from, true);
        let mut sent = Vec::new();
        loop {
            let ready = limiter.ready_at(now);
            if ready.0 >= end {
                limiter.runs(Mono(end), false);
                return sent;
            }
            if ready <= now {
                limiter.take();
                sent.push((now.0 - from.0) as f64 / 1e9);
            }
            now = ready;
        }
    }

    #[test]
    fn no_plan_no_limit() {
        let mut limiter = RateLimiter::new(&[], 1.0);
        for moment in 0..1000 {
            assert_eq!(limiter.ready_at(Mono(moment)), Mono(moment));
            limiter.take();
        }
    }

    #[test]
    fn rates_follow_the_steps() {
        let plan = [step(0.0, 10.0, 1.0, None), step(2.0, 100.0, 0.01, None)];
        let sent = send(&mut RateLimiter::new(&plan, 1.0), Mono(5), 4.0);
        let first = sent.iter().filter(|&&t| t < 2.0).count();
        assert!((19..=21).contains(&first), "{first}");
        let second = sent.iter().filter(|&&t| t >= 2.0).count();
        assert!((198..=202).contains(&second), "{second}");
    }

    #[test]
    fn a_burst_is_what_the_bucket_holds() {
        let plan = [step(0.0, 10.0, 2.0, Some(100.0))];
        let sent = send(&mut RateLimiter::new(&plan, 1.0), Mono(0), 1.0);
        assert_eq!(sent.iter().filter(|&&t| t == 0.0).count(), 20);
        assert!((29..=30).contains(&sent.len()), "{}", sent.len());
    }

    #[test]
    fn one_lane_of_four_has_a_quarter() {
        let plan = [step(0.0, 40.0, 0.1, None)];
        let sent = send(&mut RateLimiter::new(&plan, 0.25), Mono(0), 10.0);
        assert!((99..=101).contains(&sent.len()), "{}", sent.len());
    }

    #[test]
    fn a_pause_stands_still_and_grants_nothing() {
        let plan = [step(0.0, 10.0, 5.0, None), step(1.0, 1.0, 1.0, None)];
        let mut limiter = RateLimiter::new(&plan, 1.0);
        assert_eq!(send(&mut limiter, Mono(0), 0.55).len(), 5);
        // An hour of pause.
        let resumed = Mono(3_600_000_000_000);
        limiter.runs(resumed, true);
        let ready = limiter.ready_at(resumed);
        assert!(ready > resumed && ready.0 - resumed.0 <= 100_000_000);
        // The first step still has its 0.45 s to go.
        let after = send(&mut limiter, resumed, 0.45);
        assert!((4..=5).contains(&after.len()), "{after:?}");
    }

    #[test]
    fn who_goes_on_is_in_the_step_of_its_time_and_is_granted_nothing_twice() {
        let plan = [
            step(0.0, 10.0, 5.0, Some(50.0)),
            step(2.0, 100.0, 1.0, Some(100.0)),
            step(6.0, 1.0, 1.0, None),
        ];
        let mut first = RateLimiter::new(&plan, 1.0);
        let before = send(&mut first, Mono(7), 3.0);
        assert_eq!(first.running(Mono(i64::MAX)), Duration::from_secs(3));
        // 50 at once and 20 more; then 100 at once and 100 more.
        assert!((268..=270).contains(&before.len()), "{}", before.len());

        let mut next = RateLimiter::new(&plan, 1.0);
        next.go_on(first.running(Mono(0)));
        next.go_on(Duration::from_secs(1));
        let after = send(&mut next, Mono(77), 5.0);
        // Three seconds are left of the second step, and neither step grants its first tokens again.
        let of_step = after.iter().filter(|&&at| at < 3.0).count();
        assert!((298..=300).contains(&of_step), "{of_step}");
        assert!((2..=3).contains(&(after.len() - of_step)), "{after:?}");
        assert_eq!(next.running(Mono(0)), Duration::from_secs(8));

        let mut unbounded = RateLimiter::new(&[], 1.0);
        unbounded.go_on(Duration::from_secs(9));
        assert_eq!(unbounded.ready_at(Mono(3)), Mono(3));
        assert_eq!(unbounded.running(Mono(3)), Duration::ZERO);
    }

    #[test]
    fn a_plan_that_begins_later_limits_nothing_before() {
        let mut limiter = RateLimiter::new(&[step(1.0, 1.0, 1.0, Some(0.0))], 1.0);
        limiter.runs(Mono(0), true);
        for moment in 0..100 {
            assert_eq!(limiter.ready_at(Mono(moment)), Mono(moment));
            limiter.take();
        }
        assert_eq!(limiter.ready_at(Mono(1_000_000_000)), Mono(2_000_000_000));
    }

    #[test]
    fn catching_up_is_bounded_and_the_plan_still_counts() {
        let pace = |catch_up_eps, rate_plan: &[RateStep]| PacePlan {
            speedup: 1.0,
            lead: Default::default(),
            overload: worldstream_crds::Overload::CatchUp,
            max_lag: Default::default(),
            catch_up_eps,
            on_output_failure: Default::default(),
            rate_plan: rate_plan.to_vec(),
        };
        let count = |pace: &PacePlan, catching_up| {
            let mut rate = OutputRate::new(pace, 1.0);
            let (mut now, mut sent) = (Mono(0), 0);
            rate.runs(now, true);
            while now.0 < 1_000_000_000 && sent < 10_000 {
                let ready = rate.ready_at(now, catching_up);
                if ready <= now {
                    rate.take(catching_up);
                    sent += 1;
                }
                now = ready;
            }
            sent
        };
        assert!((99..=101).contains(&count(&pace(Some(100.0), &[]), true)));
        assert_eq!(count(&pace(Some(100.0), &[]), false), 10_000);
        assert_eq!(count(&pace(None, &[]), true), 10_000);
        let slow = [step(0.0, 10.0, 0.1, None)];
        assert!((9..=11).contains(&count(&pace(Some(100.0), &slow), true)));
    }

    #[test]
    fn a_step_of_nothing_waits_for_the_next() {
        let plan = [
            step(0.0, 0.0, 1.0, Some(0.0)),
            step(3.0, 10.0, 1.0, Some(1.0)),
        ];
        let mut limiter = RateLimiter::new(&plan, 1.0);
        assert_eq!(limiter.ready_at(Mono(0)), Mono(3_000_000_000));
        let mut never = RateLimiter::new(&plan[..1], 1.0);
        assert_eq!(never.ready_at(Mono(0)), Mono::NEVER);
    }
}
