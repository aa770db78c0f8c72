//! How the edge answered while it all happened, second by second.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// One second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Second {
    /// From when a device wanted to ask until it was answered, in milliseconds, of what was.
    pub(crate) answered_ms: Vec<u32>,
    /// What was not, or with a 5xx.
    pub(crate) failed: u32,
}

/// All seconds since the beginning.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) began: Instant,
    seconds: Mutex<Vec<Second>>,
}

impl Measured {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), seconds: Mutex::default() }
    }

    /// A request was answered just now, or will not be.
    pub(crate) fn request(&self, due: Instant, answered: bool) {
        let at = self.began.elapsed().as_secs() as usize;
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.len() <= at {
            seconds.resize(at + 1, Second::default());
        }
        if answered {
            seconds[at].answered_ms.push(due.elapsed().as_millis() as u32);
        } else {
            seconds[at].failed += 1;
        }
    }

    /// How many were answered so far, and how many were not.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.iter().fold((0, 0), |(answered, failed), second| {
            (answered + second.answered_ms.len() as u64, failed + u64::from(second.failed))
        })
    }

    /// Every second, its answers in order of their latency.
    pub(crate) fn seconds(&self) -> Vec<Second> {
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seconds.iter_mut().for_each(|second| second.answered_ms.sort_unstable());
        seconds
    }
}

impl Second {
    /// The latency that so many per cent of the answers have at most; 0 if there are none.
    pub(crate) fn percentile_ms(&self, percent: usize) -> u32 {
        percentile(&self.answered_ms, percent)
    }
}

/// The value that so many per cent of `sorted` have at most; 0 if there are none.
pub(crate) fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
