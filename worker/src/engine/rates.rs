//! What bounds the rate of an output: its rate plan, and the rate at which it may catch up.

use worldstream_crds::Overload;

use crate::clock::{Mono, RateLimiter};
use crate::plan::PacePlan;

/// What bounds the rate of an output's lanes in this process, together.
#[derive(Debug)]
pub struct Rates {
    /// The rate plan.
    pub plan: RateLimiter,
    /// While it catches up: of events that are late already.
    pub catch_up: RateLimiter,
}

impl Rates {
    /// The rates of a plan; `share` is the part of them that these lanes may use.
    pub fn new(pace: &PacePlan, share: f64) -> Self {
        let eps = match pace.overload {
            Overload::CatchUp => pace.catch_up_eps,
            Overload::Hold | Overload::Fail => None,
        };
        Rates {
            plan: RateLimiter::new(&pace.rate_plan, share),
            catch_up: RateLimiter::constant(eps, share, Mono::now()),
        }
    }
}
