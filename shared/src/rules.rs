//! What the numbers are: every threshold that the domain knows, in one place.

/// The thresholds, with the defaults that Playhead ships. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct Rules {
    /// A session that has played this much content is settled: it moves the resume point.
    pub settled_ms: u64,
    /// A title is started from this position on …
    pub started_ms: u64,
    /// … or from this per cent of its duration, whichever comes first.
    pub started_percent: u64,
    /// Without a credits marker a title is watched from this per cent of its duration on …
    pub watched_percent: u64,
    /// … or this long before its end, whichever comes first.
    pub watched_before_end_ms: u64,
    /// Titles shorter than this have no resume point.
    pub shortest_resumable_ms: u64,
    /// A position up to this far past the duration is taken as the duration.
    pub overrun_ms: u64,
    /// Observed further ahead of the edge's clock than this is refused as `in_future`.
    pub future_ms: u64,
    /// Observed longer ago than this is refused as `too_old`.
    pub accept_window_ms: u64,
    /// A session's birth may lie this far behind its observation at most: it lives a week.
    pub session_life_ms: u64,
    /// A session's birth may lie this far ahead of its observation: it was minted before the clock was anchored.
    pub birth_ahead_ms: u64,
    /// A write sent further behind the edge's clock than this is answered `clock_skew`; ahead, see `future_ms`.
    pub sent_behind_ms: u64,
    /// A stream's lease, renewed by every heartbeat.
    pub lease_ms: u64,
    /// A stream whose position has not moved for this long is over.
    pub still_ms: u64,
    /// An ended lease is remembered for this long, so that a late beat does not revive it.
    pub ended_lease_ms: u64,
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

impl Default for Rules {
    fn default() -> Self {
        Self {
            settled_ms: 10 * SECOND,
            started_ms: 2 * MINUTE,
            started_percent: 3,
            watched_percent: 90,
            watched_before_end_ms: SECOND,
            shortest_resumable_ms: 5 * MINUTE,
            overrun_ms: 10 * SECOND,
            future_ms: 5 * SECOND,
            accept_window_ms: 30 * DAY,
            session_life_ms: 7 * DAY,
            birth_ahead_ms: 2 * MINUTE,
            sent_behind_ms: 60 * SECOND,
            lease_ms: 90 * SECOND,
            still_ms: 30 * MINUTE,
            ended_lease_ms: 10 * MINUTE,
        }
    }
}

impl Rules {
    /// From which position on a title of that duration is started.
    pub fn started_from_ms(&self, duration_ms: u64) -> u64 {
        self.started_ms.min(percent(duration_ms, self.started_percent))
    }

    /// Which played point makes a title watched: its credits marker, else a share of its duration. None
    /// without either: live, or duration unknown.
    pub fn watched_from_ms(&self, duration_ms: Option<u64>, credits_ms: Option<u64>) -> Option<u64> {
        credits_ms.or_else(|| {
            let duration = duration_ms?;
            Some(percent(duration, self.watched_percent).min(duration.saturating_sub(self.watched_before_end_ms)))
        })
    }
}

fn percent(whole: u64, part: u64) -> u64 {
    whole.saturating_mul(part) / 100
}
