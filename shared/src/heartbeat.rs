//! A heartbeat: all that a device knows of one playback session so far.
//!
//! [`RawHeartbeat`] is what the JSON may say; a [`Heartbeat`] that exists is valid. The one `TryFrom` between
//! them, and [`Heartbeat::judge_time`] at the door, name every refusal.

use minicbor::{Decode, Encode};
use serde::Deserialize;
use thiserror::Error;

use crate::id::{SessionId, TitleId};
use crate::rules::Rules;
use crate::time::Millis;

/// What a heartbeat reports beside the position. An event of a newer client counts as progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Event {
    /// The session began.
    #[n(0)]
    Start,
    /// Nothing but time has passed.
    #[n(1)]
    Progress,
    /// The viewer paused.
    #[n(2)]
    Pause,
    /// The viewer plays on.
    #[n(3)]
    Resume,
    /// The viewer jumped.
    #[n(4)]
    Seek,
    /// The session is over.
    #[n(5)]
    Stop,
}

impl From<&str> for Event {
    fn from(word: &str) -> Self {
        match word {
            "start" => Self::Start,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "seek" => Self::Seek,
            "stop" => Self::Stop,
            _ => Self::Progress,
        }
    }
}

impl Event {
    /// The word that the device API uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Progress => "progress",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Seek => "seek",
            Self::Stop => "stop",
        }
    }
}

/// A heartbeat as the JSON has it. Numbers are read as any JSON number, so that a negative, fractional or
/// absurd one is refused by its own name; unknown fields are ignored, so that clients can grow.
#[derive(Clone, Debug, Default, Deserialize)]
#[allow(missing_docs)] // the fields are those of [`Heartbeat`]
pub struct RawHeartbeat {
    pub session_id: Option<String>,
    pub title_id: Option<String>,
    pub event: Option<String>,
    pub playing: Option<bool>,
    pub observed_at: Option<f64>,
    pub moved_at: Option<f64>,
    pub position_ms: Option<f64>,
    pub duration_ms: Option<f64>,
    pub watched_ms: Option<f64>,
    pub furthest_ms: Option<f64>,
    pub credits_ms: Option<f64>,
    pub series_id: Option<String>,
    pub next_title_id: Option<String>,
}

/// A valid heartbeat. Positions are content time in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The playback session, minted by the device.
    pub session: SessionId,
    /// What is played.
    pub title: TitleId,
    /// What happened.
    pub event: Event,
    /// Whether the position is moving by itself now.
    pub playing: bool,
    /// When the device saw this, on the device axis: server time that its monotonic clock carries on.
    pub observed_at: Millis,
    /// When the position last moved, by playing or by seeking; at most `observed_at`.
    pub moved_at: Millis,
    /// Where the viewer is.
    pub position_ms: u64,
    /// How long the title is; none for live, or while it is unknown.
    pub duration_ms: Option<u64>,
    /// Content time played in this session so far, whatever the playback rate.
    pub watched_ms: u64,
    /// The furthest point reached by playing, not by seeking.
    pub furthest_ms: u64,
    /// Where the credits begin.
    pub credits_ms: Option<u64>,
    /// The series that the title belongs to.
    pub series: Option<TitleId>,
    /// The title that follows in the series.
    pub next_title: Option<TitleId>,
}

/// Why one heartbeat is not taken; those beside it in the batch are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Refusal {
    /// The stable code that a device acts on.
    pub code: RefusalCode,
    /// For a developer to read.
    pub detail: String,
}

/// The stable codes of [`Refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCode {
    /// A field is missing or has the wrong type.
    Malformed,
    /// Not a UUIDv7, or born more than two minutes after it was observed.
    BadSessionId,
    /// Born more than a week before it was observed.
    SessionTooOld,
    /// `title_id`, `series_id` or `next_title_id` is no id.
    BadTitleId,
    /// A position is negative, fractional, absurd, or lies beyond the duration.
    BadPosition,
    /// The duration is not a positive, plausible number of milliseconds.
    BadDuration,
    /// A time is no time, or the position moved after it was observed.
    BadTimes,
    /// Observed in the edge's future.
    InFuture,
    /// Observed before the accept window.
    TooOld,
    /// The session has played another title before.
    TitleChanged,
}

impl RefusalCode {
    /// The code as the device API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadSessionId => "bad_session_id",
            Self::SessionTooOld => "session_too_old",
            Self::BadTitleId => "bad_title_id",
            Self::BadPosition => "bad_position",
            Self::BadDuration => "bad_duration",
            Self::BadTimes => "bad_times",
            Self::InFuture => "in_future",
            Self::TooOld => "too_old",
            Self::TitleChanged => "title_changed",
        }
    }
}

/// The year 2286: later times, and positions (live players may count from 1970), are mistakes.
const GREATEST_MS: u64 = 10_000_000_000_000;
/// A month: no title is longer.
const LONGEST_TITLE_MS: u64 = 31 * 24 * 3600 * 1000;

impl TryFrom<(RawHeartbeat, &Rules)> for Heartbeat {
    type Error = Refusal;

    fn try_from((raw, rules): (RawHeartbeat, &Rules)) -> Result<Self, Refusal> {
        use RefusalCode::{BadDuration, BadPosition, BadSessionId, BadTimes};
        let session = present(raw.session_id, "session_id")?;
        let session: SessionId = session.parse().map_err(|bad| refusal(BadSessionId, bad))?;
        let title = title_id(present(raw.title_id, "title_id")?, "title_id")?;
        let series = raw.series_id.map(|id| title_id(id, "series_id")).transpose()?;
        let next_title = raw.next_title_id.map(|id| title_id(id, "next_title_id")).transpose()?;
        let event = Event::from(present(raw.event, "event")?.as_str());
        let playing = present(raw.playing, "playing")?;

        let observed_at = whole(present(raw.observed_at, "observed_at")?, "observed_at", GREATEST_MS, BadTimes)?;
        let moved_at = whole(present(raw.moved_at, "moved_at")?, "moved_at", GREATEST_MS, BadTimes)?;
        let position = whole(present(raw.position_ms, "position_ms")?, "position_ms", GREATEST_MS, BadPosition)?;
        let watched_ms = whole(present(raw.watched_ms, "watched_ms")?, "watched_ms", GREATEST_MS, BadPosition)?;
        let furthest = whole(present(raw.furthest_ms, "furthest_ms")?, "furthest_ms", GREATEST_MS, BadPosition)?;
        let duration_ms =
            raw.duration_ms.map(|ms| whole(ms, "duration_ms", LONGEST_TITLE_MS, BadDuration)).transpose()?;
        let credits_ms = raw.credits_ms.map(|ms| whole(ms, "credits_ms", GREATEST_MS, BadPosition)).transpose()?;
        if duration_ms == Some(0) {
            return Err(refusal(BadDuration, "duration_ms is 0: leave it out while it is unknown"));
        }

        let heartbeat = Self {
            session,
            title,
            event,
            playing,
            observed_at: Millis(observed_at),
            moved_at: Millis(moved_at),
            position_ms: within(position, "position_ms", duration_ms, rules)?,
            duration_ms,
            watched_ms,
            furthest_ms: within(furthest, "furthest_ms", duration_ms, rules)?,
            credits_ms: credits_ms.map(|ms| within(ms, "credits_ms", duration_ms, rules)).transpose()?,
            series,
            next_title,
        };
        heartbeat.consistent(rules)
    }
}

impl Heartbeat {
    /// Refuses what was observed outside the edge's accept window. Only the edge does this, once, so that
    /// nothing accepted can be refused later.
    pub fn judge_time(&self, now: Millis, rules: &Rules) -> Result<(), Refusal> {
        judge_time(self.observed_at, now, rules)
    }

    fn consistent(self, rules: &Rules) -> Result<Self, Refusal> {
        judge_birth(self.session, self.observed_at, rules)?;
        if self.moved_at > self.observed_at {
            return Err(refusal(RefusalCode::BadTimes, "moved_at lies after observed_at"));
        }
        if self.moved_at.plus(rules.birth_ahead_ms) < self.session.birth() {
            return Err(refusal(RefusalCode::BadTimes, "moved_at lies before the session's birth"));
        }
        Ok(self)
    }
}

/// Refuses an observation outside the accept window of an edge whose clock says `now`.
pub fn judge_time(observed_at: Millis, now: Millis, rules: &Rules) -> Result<(), Refusal> {
    if observed_at > now.plus(rules.future_ms) {
        return Err(refusal(RefusalCode::InFuture, "observed_at lies in the future"));
    }
    if observed_at < now.minus(rules.accept_window_ms) {
        return Err(refusal(RefusalCode::TooOld, "observed_at lies before the accept window of 30 days"));
    }
    Ok(())
}

/// Refuses a session whose birth does not fit the time at which it was observed.
pub fn judge_birth(session: SessionId, observed_at: Millis, rules: &Rules) -> Result<(), Refusal> {
    if session.birth() > observed_at.plus(rules.birth_ahead_ms) {
        return Err(refusal(RefusalCode::BadSessionId, "the session was born after it was observed"));
    }
    if session.birth() < observed_at.minus(rules.session_life_ms) {
        return Err(refusal(RefusalCode::SessionTooOld, "a session lives 7 days: open another"));
    }
    Ok(())
}

/// A refusal with that code and detail.
pub fn refusal(code: RefusalCode, detail: impl ToString) -> Refusal {
    Refusal { code, detail: detail.to_string() }
}

fn present<T>(field: Option<T>, name: &str) -> Result<T, Refusal> {
    field.ok_or_else(|| refusal(RefusalCode::Malformed, format!("{name} is missing")))
}

fn title_id(text: String, name: &str) -> Result<TitleId, Refusal> {
    text.parse().map_err(|bad| refusal(RefusalCode::BadTitleId, format!("{name}: {bad}")))
}

/// A whole number of milliseconds from 0 to `greatest`.
fn whole(number: f64, name: &str, greatest: u64, code: RefusalCode) -> Result<u64, Refusal> {
    if number.fract() != 0.0 || !(0.0..=greatest as f64).contains(&number) {
        return Err(refusal(code, format!("{name} is not a whole number of milliseconds from 0 to {greatest}")));
    }
    Ok(number as u64)
}

/// A point in the title: a little past the end is the end, as players report it.
fn within(point: u64, name: &str, duration_ms: Option<u64>, rules: &Rules) -> Result<u64, Refusal> {
    match duration_ms {
        Some(duration) if point > duration.saturating_add(rules.overrun_ms) => {
            Err(refusal(RefusalCode::BadPosition, format!("{name} lies beyond duration_ms")))
        }
        Some(duration) => Ok(point.min(duration)),
        None => Ok(point),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_800_000_000_000);
    const DAY: u64 = 24 * 3600 * 1000;

    fn parse(json: &str) -> Result<Heartbeat, Refusal> {
        let raw: RawHeartbeat = serde_json::from_str(json).map_err(|error| refusal(RefusalCode::Malformed, error))?;
        let heartbeat = Heartbeat::try_from((raw, &Rules::default()))?;
        heartbeat.judge_time(NOW, &Rules::default()).map(|()| heartbeat)
    }

    fn good() -> serde_json::Map<String, serde_json::Value> {
        let json = serde_json::json!({
            "session_id": SessionId::of_birth(NOW, 1), "title_id": "film", "event": "progress", "playing": true,
            "observed_at": NOW.0, "moved_at": NOW.0, "position_ms": 60_000, "duration_ms": 600_000,
            "watched_ms": 60_000, "furthest_ms": 60_000,
        });
        match json {
            serde_json::Value::Object(map) => map,
            _ => unreachable!(),
        }
    }

    fn with(changes: serde_json::Value) -> Result<Heartbeat, Refusal> {
        let mut map = good();
        for (name, value) in changes.as_object().into_iter().flatten() {
            map.insert(name.clone(), value.clone());
        }
        parse(&serde_json::to_string(&map).unwrap())
    }

    #[test]
    fn every_refusal_has_its_name() {
        let born =
            |ago: i64| serde_json::json!({"session_id": SessionId::of_birth(Millis((NOW.0 as i64 - ago) as u64), 1)});
        let shifted = |ago: u64| {
            let at = NOW.0 - ago;
            serde_json::json!({"session_id": SessionId::of_birth(Millis(at), 1), "observed_at": at, "moved_at": at})
        };
        for (changes, code) in [
            (serde_json::json!({"position_ms": -1}), "bad_position"),
            (serde_json::json!({"position_ms": 1e300}), "bad_position"),
            (serde_json::json!({"position_ms": 1.5}), "bad_position"),
            (serde_json::json!({"position_ms": 610_001}), "bad_position"),
            (serde_json::json!({"furthest_ms": -5}), "bad_position"),
            (serde_json::json!({"watched_ms": 1e16}), "bad_position"),
            (serde_json::json!({"position_ms": null}), "malformed"),
            (serde_json::json!({"position_ms": "60"}), "malformed"),
            (serde_json::json!({"playing": 1}), "malformed"),
            (serde_json::json!({"event": null}), "malformed"),
            (serde_json::json!({"duration_ms": 0}), "bad_duration"),
            (serde_json::json!({"duration_ms": -600}), "bad_duration"),
            (serde_json::json!({"duration_ms": 1e15}), "bad_duration"),
            (serde_json::json!({"title_id": "a/b"}), "bad_title_id"),
            (serde_json::json!({"series_id": ""}), "bad_title_id"),
            (serde_json::json!({"session_id": "1"}), "bad_session_id"),
            (born(-121_000), "bad_session_id"),
            (born(8 * DAY as i64), "session_too_old"),
            (serde_json::json!({"moved_at": NOW.0 + 1}), "bad_times"),
            (serde_json::json!({"moved_at": NOW.0 - 121_000}), "bad_times"),
            (serde_json::json!({"observed_at": -1}), "bad_times"),
            (serde_json::json!({"observed_at": NOW.0 + 5_001}), "in_future"),
            (shifted(31 * DAY), "too_old"),
        ] {
            let refused = with(changes.clone()).expect_err(&changes.to_string());
            assert_eq!(refused.code.as_str(), code, "{changes}: {refused}");
        }
    }

    #[test]
    fn what_a_newer_or_sloppier_client_sends_is_taken() {
        assert_eq!(with(serde_json::json!({"event": "ad_break"})).unwrap().event, Event::Progress);
        assert!(with(serde_json::json!({"new_field": {"a": 1}})).is_ok());
        assert_eq!(with(serde_json::json!({"position_ms": 609_000})).unwrap().position_ms, 600_000);
        assert_eq!(with(serde_json::json!({"duration_ms": null})).unwrap().duration_ms, None);
        assert!(with(serde_json::json!({"observed_at": NOW.0 + 5_000})).is_ok());
    }
}
