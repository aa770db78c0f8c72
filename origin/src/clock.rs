//! The one place of the origin that reads a clock. Everything else takes `now` as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use playhead_shared::time::Millis;

/// The origin's wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
pub fn now() -> Millis {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}
