//! What registers mean to a viewer: each case plays heartbeats and commands, in any order, and reads the profile.

use playhead_shared::heartbeat::{Event, Heartbeat};
use playhead_shared::id::{SessionId, TitleId};
use playhead_shared::moves::{Command, Viewer, command_move, heartbeat_moves};
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::title::{ProfileFacts, Progress};

const T0: u64 = 1_800_000_000_000;
const MINUTE: u64 = 60_000;

fn viewer() -> Viewer {
    Viewer {
        account: "acme".parse().unwrap(),
        profile: "ada".parse().unwrap(),
        device: "tv".parse().unwrap(),
        streams: 2,
        incognito: false,
    }
}

/// A heartbeat of session `n` on `title` at minute `at`, which has played from 0 to `position` minutes of 60.
fn beat(n: u64, title: &str, at: u64, position: u64) -> Heartbeat {
    Heartbeat {
        session: SessionId::of_birth(Millis(T0), n),
        title: title.parse().unwrap(),
        event: Event::Progress,
        playing: true,
        observed_at: Millis(T0 + at * MINUTE),
        moved_at: Millis(T0 + at * MINUTE),
        position_ms: position * MINUTE,
        duration_ms: Some(60 * MINUTE),
        watched_ms: position * MINUTE,
        furthest_ms: position * MINUTE,
        credits_ms: None,
        series: None,
        next_title: None,
    }
}

#[derive(Default)]
struct Profile(Vec<playhead_shared::register::Entry>);

impl Profile {
    fn play(mut self, beat: Heartbeat) -> Self {
        self.0.extend(heartbeat_moves(&viewer(), &beat, &Rules::default()));
        self
    }

    fn ask(mut self, command: Command, at: u64) -> Self {
        self.0.push(command_move(&viewer(), command, Millis(T0 + at * MINUTE)));
        self
    }

    /// The same facts whichever way round they arrive.
    fn facts(self) -> ProfileFacts {
        let (mut forwards, mut backwards) = (ProfileFacts::default(), ProfileFacts::default());
        for entry in self.0.iter().cloned() {
            forwards.merge(entry.fact, entry.register);
        }
        for entry in self.0.iter().rev().cloned() {
            backwards.merge(entry.fact, entry.register);
        }
        for entry in &self.0 {
            assert_eq!(forwards.get(&entry.fact), backwards.get(&entry.fact));
        }
        forwards
    }

    /// Progress and position, in minutes, of a title.
    fn stands(self, title: &str) -> Option<(Progress, u64)> {
        let point = self.facts().resume_point(&viewer().profile, &title.parse().unwrap(), &Rules::default())?;
        Some((point.progress, point.position_ms / MINUTE))
    }

    fn continues(self) -> Vec<(String, bool)> {
        let items = self.facts().continue_watching(&viewer().profile, 10, &Rules::default());
        items.into_iter().map(|item| (item.title_id.to_string(), item.up_next)).collect()
    }
}

fn title(id: &str) -> TitleId {
    id.parse().unwrap()
}

#[test]
fn progress_of_a_title() {
    use Progress::{InProgress, Watched};
    let idle = |at| Heartbeat { moved_at: Millis(T0 + 10 * MINUTE), ..beat(1, "film", at, 10) };
    let scrubbed = Heartbeat { furthest_ms: 5 * MINUTE, ..beat(1, "film", 9, 59) };
    let unsettled = Heartbeat { watched_ms: 9_999, ..beat(2, "film", 20, 0) };
    let short = Heartbeat { duration_ms: Some(4 * MINUTE), ..beat(1, "film", 3, 3) };
    let live = Heartbeat { duration_ms: None, ..beat(1, "film", 9, 9) };
    let credits = Heartbeat { credits_ms: Some(50 * MINUTE), ..beat(1, "film", 51, 51) };
    let back = Heartbeat { furthest_ms: 55 * MINUTE, ..beat(1, "film", 56, 20) };
    let hidden = Command::MarkWatched(title("film"), true);
    for (what, profile, expected) in [
        ("nothing played", Profile::default(), None),
        ("played", Profile::default().play(beat(1, "film", 10, 10)), Some((InProgress, 10))),
        ("hardly begun", Profile::default().play(beat(1, "film", 1, 1)), None),
        ("watched", Profile::default().play(beat(1, "film", 55, 55)), Some((Watched, 55))),
        ("past the credits marker", Profile::default().play(credits), Some((Watched, 51))),
        ("back during the credits", Profile::default().play(beat(1, "film", 55, 55)).play(back), Some((Watched, 20))),
        ("scrubbed to the end", Profile::default().play(scrubbed), Some((InProgress, 59))),
        (
            "watched again",
            Profile::default().play(beat(1, "film", 55, 55)).play(beat(2, "film", 90, 12)),
            Some((InProgress, 12)),
        ),
        (
            "an autoplay does not move it",
            Profile::default().play(beat(1, "film", 10, 10)).play(unsettled),
            Some((InProgress, 10)),
        ),
        ("a short title", Profile::default().play(short), None),
        ("live", Profile::default().play(live), None),
        (
            "marked while another idles",
            Profile::default().play(idle(10)).ask(hidden, 12).play(idle(15)),
            Some((Watched, 10)),
        ),
        ("forgotten", Profile::default().play(beat(1, "film", 10, 10)).ask(Command::Forget(title("film")), 11), None),
        (
            "played in the instant of forgetting",
            Profile::default().play(beat(1, "film", 10, 10)).ask(Command::Forget(title("film")), 10),
            None,
        ),
        (
            "played after forgetting",
            Profile::default().ask(Command::Forget(title("film")), 11).play(beat(1, "film", 12, 12)),
            Some((InProgress, 12)),
        ),
    ] {
        assert_eq!(profile.stands("film"), expected, "{what}");
    }
}

#[test]
fn continue_watching_is_of_each_series_the_newest() {
    let episode = |n: u64, at, position| Heartbeat {
        series: Some(title("series")),
        next_title: Some(title(&format!("e{}", n + 1))),
        ..beat(n, &format!("e{n}"), at, position)
    };
    let item = |id: &str, up_next| (id.to_owned(), up_next);
    let both = || Profile::default().play(beat(9, "film", 10, 10)).play(episode(1, 20, 20));
    for (what, profile, expected) in [
        ("newest first", both(), vec![item("e1", false), item("film", false)]),
        ("up next", both().play(episode(1, 58, 58)), vec![item("e2", true), item("film", false)]),
        (
            "the next one begun",
            both().play(episode(1, 58, 58)).play(episode(2, 70, 7)),
            vec![item("e2", false), item("film", false)],
        ),
        ("hidden", both().ask(Command::Hide(title("film"), true), 30), vec![item("e1", false)]),
        (
            "put back",
            both().ask(Command::Hide(title("film"), true), 30).ask(Command::Hide(title("film"), false), 31),
            vec![item("e1", false), item("film", false)],
        ),
        (
            "hidden, played again",
            both().ask(Command::Hide(title("film"), true), 30).play(beat(9, "film", 40, 15)),
            vec![item("film", false), item("e1", false)],
        ),
        ("watched", both().play(beat(9, "film", 58, 58)), vec![item("e1", false)]),
    ] {
        assert_eq!(profile.continues(), expected, "{what}");
    }
}

#[test]
fn a_deleted_entry_leaves_the_history_and_not_the_resume_point() {
    let gone = SessionId::of_birth(Millis(T0), 1);
    let profile = || {
        Profile::default().play(beat(1, "film", 10, 10)).ask(Command::Delete(gone), 11).play(beat(1, "film", 12, 12))
    };
    assert!(profile().facts().history(&viewer().profile).is_empty());
    assert_eq!(profile().stands("film"), Some((Progress::InProgress, 12)));
}

#[test]
fn an_incognito_session_leaves_nothing() {
    let incognito = Viewer { incognito: true, ..viewer() };
    assert!(heartbeat_moves(&incognito, &beat(1, "film", 55, 55), &Rules::default()).is_empty());
}
