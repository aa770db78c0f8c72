//! What a viewer's devices said, and what they were told of it: all that the verdict goes by.

use playhead_shared::id::SessionId;
use serde_json::{Value, json};

use crate::catalogue::Title;

/// What became of something that a device had to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// It never left the device: it must be nowhere.
    Unsent,
    /// It was sent and never acknowledged: it may be there or not.
    Sent,
    /// It was acknowledged: it must be there.
    Acknowledged,
}

/// A heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct Beat {
    pub(crate) session: SessionId,
    pub(crate) title: &'static Title,
    pub(crate) device: String,
    pub(crate) event: &'static str,
    pub(crate) playing: bool,
    pub(crate) observed_at: u64,
    pub(crate) moved_at: u64,
    pub(crate) position_ms: u64,
    pub(crate) watched_ms: u64,
    pub(crate) furthest_ms: u64,
    pub(crate) fate: Fate,
}

/// What a viewer asks for beside playing.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Watched(&'static Title, bool),
    Hidden(&'static Title, bool),
    Forget(&'static Title),
    Delete(SessionId),
}

/// A wish, when it was made, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) wish: Wish,
    pub(crate) observed_at: u64,
    pub(crate) fate: Fate,
}

/// All of one profile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) beats: Vec<Beat>,
    pub(crate) commands: Vec<Command>,
}

impl Beat {
    /// As the device API has it.
    pub(crate) fn json(&self) -> Value {
        let mut json = json!({
            "session_id": self.session, "title_id": self.title.id, "event": self.event, "playing": self.playing,
            "observed_at": self.observed_at, "moved_at": self.moved_at, "position_ms": self.position_ms,
            "watched_ms": self.watched_ms, "furthest_ms": self.furthest_ms,
        });
        let Title { duration_ms, credits_ms, series, next, .. } = self.title;
        for (name, ms) in [("duration_ms", duration_ms), ("credits_ms", credits_ms)] {
            ms.iter().for_each(|ms| json[name] = json!(ms));
        }
        for (name, id) in [("series_id", series), ("next_title_id", next)] {
            id.iter().for_each(|id| json[name] = json!(id));
        }
        json
    }
}

impl Ledger {
    /// How many heartbeats and commands met that fate.
    pub(crate) fn count(&self, fate: Fate) -> (u64, u64) {
        let beats = self.beats.iter().filter(|beat| beat.fate == fate).count();
        let commands = self.commands.iter().filter(|command| command.fate == fate).count();
        (beats as u64, commands as u64)
    }
}
