//! One play of a title, and the heartbeats that a device would send of it.

use std::sync::atomic::{AtomicU64, Ordering};

use playhead_shared::id::SessionId;
use playhead_shared::time::Millis;
use serde_json::{Value, json};

use crate::now;

/// How long the titles of the tests are: two hours.
pub const DURATION_MS: u64 = 7_200_000;

/// One play.
#[derive(Clone, Debug)]
pub struct Play {
    /// Its session.
    pub session: SessionId,
    /// What is played.
    pub title: String,
    /// What it belongs to.
    pub series: Option<String>,
    /// What follows it.
    pub next: Option<String>,
}

impl Play {
    /// Begins to play a title now.
    pub fn new(title: &str) -> Play {
        Play::born(title, now())
    }

    /// Began to play a title at `birth`; no two plays have the same session.
    pub fn born(title: &str, birth: Millis) -> Play {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id());
        Play { session: SessionId::of_birth(birth, number), title: title.to_owned(), series: None, next: None }
    }

    /// A heartbeat of now, all played through from the beginning to `position_ms`.
    pub fn beat(&self, event: &str, position_ms: u64) -> Value {
        self.beat_at(event, position_ms, now().0)
    }

    /// The same, observed at another time.
    pub fn beat_at(&self, event: &str, position_ms: u64, observed_at: u64) -> Value {
        let mut beat = json!({
            "session_id": self.session, "title_id": self.title, "event": event,
            "playing": !matches!(event, "pause" | "stop"), "observed_at": observed_at, "moved_at": observed_at,
            "position_ms": position_ms, "duration_ms": DURATION_MS, "watched_ms": position_ms,
            "furthest_ms": position_ms,
        });
        if let Some(series) = &self.series {
            beat["series_id"] = json!(series);
        }
        if let Some(next) = &self.next {
            beat["next_title_id"] = json!(next);
        }
        beat
    }
}

/// `heartbeat` with some of its fields set otherwise.
pub fn with(mut heartbeat: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().into_iter().flatten() {
        heartbeat[name] = value.clone();
    }
    heartbeat
}
