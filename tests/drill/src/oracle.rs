//! What must be known of a profile, worked out in order from what its devices said and were told: plain rules, written
//! down a second time, and nothing of the code that is judged by them.
//!
//! What was acknowledged must be there. What was sent and never acknowledged may be there or not, each for itself, so of
//! a few facts there are several truths; any of them will do. What was never sent must not be there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use playhead_shared::id::SessionId;
use serde_json::{Value, json};

use crate::catalogue::Title;
use crate::ledger::{Beat, Fate, Ledger, Wish};

const SETTLED_MS: u64 = 10_000;
const STARTED_MS: u64 = 120_000;
const STARTED_PERCENT: u64 = 3;
const WATCHED_PERCENT: u64 = 90;
const BEFORE_END_MS: u64 = 1_000;
const SHORTEST_MS: u64 = 300_000;

/// What may be true of one register: nothing, or something with its time.
type Candidates<T> = Vec<Option<(u64, T)>>;

/// What is true of a title, in one of the truths.
#[derive(Clone)]
struct Truth<'a> {
    latest: Option<(u64, &'a Beat)>,
    watched: Option<(u64, bool)>,
    hidden: Option<(u64, bool)>,
}

/// All that must be known of one profile.
pub(crate) struct Oracle<'a> {
    ledger: &'a Ledger,
    titles: BTreeMap<&'a str, Vec<Truth<'a>>>,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(ledger: &'a Ledger) -> Oracle<'a> {
        let mut touched: BTreeSet<&str> = ledger.beats.iter().map(|beat| beat.title.id.as_str()).collect();
        touched.extend(ledger.commands.iter().filter_map(|command| match &command.wish {
            Wish::Watched(title, _) | Wish::Hidden(title, _) | Wish::Forget(title) => Some(title.id.as_str()),
            Wish::Delete(_) => None,
        }));
        let titles = touched.into_iter().map(|title| (title, truths(ledger, title))).collect();
        Oracle { ledger, titles }
    }

    /// The titles of which anything was said.
    pub(crate) fn titles(&self) -> Vec<&'a str> {
        self.titles.keys().copied().collect()
    }

    /// Every resume point that a title may have.
    pub(crate) fn resume_points(&self, title: &str) -> Vec<Value> {
        self.titles.get(title).map_or_else(|| vec![Value::Null], |truths| truths.iter().map(resume_point).collect())
    }

    /// The newest heartbeats of every session that may stand in the history; none where it may be missing.
    pub(crate) fn sessions(&self) -> HashMap<SessionId, Vec<Option<&'a Beat>>> {
        let mut of_session: HashMap<SessionId, Vec<&Beat>> = HashMap::new();
        for beat in &self.ledger.beats {
            of_session.entry(beat.session).or_default().push(beat);
        }
        let sessions = of_session.into_iter().map(|(session, beats)| {
            let newest = newest(beats.iter().map(|beat| (beat.observed_at, beat.fate, *beat)));
            let deleted =
                newest_command(self.ledger, |wish| matches!(wish, Wish::Delete(of) if *of == session).then_some(()));
            let forgotten = newest_command(self.ledger, |wish| {
                matches!(wish, Wish::Forget(title) if title.id == beats[0].title.id).then_some(())
            });
            let mut may_be = Vec::new();
            for entry in &newest {
                for deleted in &deleted {
                    for forgotten in &forgotten {
                        let counts = deleted.is_none() && entry.map(|(at, _)| at) > forgotten.map(|(at, ())| at);
                        may_be.push(entry.filter(|_| counts).map(|(_, beat)| beat));
                    }
                }
            }
            (session, may_be)
        });
        sessions.collect()
    }

    /// Continue watching, as pairs of a title and whether it is up next; none if there are several truths.
    pub(crate) fn continue_watching(&self) -> Option<Vec<(String, bool)>> {
        if self.titles.values().any(|truths| truths.len() != 1) {
            return None;
        }
        let truth = |title: &str| self.titles.get(title).map(|truths| &truths[0]);
        let mut played: Vec<(&str, &Truth<'_>, &Beat)> = (self.titles.iter())
            .filter_map(|(title, truths)| truths[0].latest.map(|(_, beat)| (*title, &truths[0], beat)))
            .filter(|(_, truth, _)| progress(truth) != "unstarted")
            .collect();
        played.sort_by_key(|(_, truth, _)| std::cmp::Reverse(newest_of(truth)));
        let (mut seen, mut items) = (BTreeSet::new(), Vec::new());
        for (title, of, beat) in played {
            // Only the newest of a series is looked at.
            if !seen.insert(beat.title.series.as_deref().unwrap_or(title)) || is_hidden(of, newest_of(of)) {
                continue;
            }
            if progress(of) == "in_progress" {
                items.extend((!resume_point(of).is_null()).then(|| (title.to_owned(), false)));
                continue;
            }
            let Some(next) = &beat.title.next else { continue };
            match truth(next) {
                Some(then) if is_hidden(then, newest_of(of).max(newest_of(then))) => {}
                Some(then) if progress(then) == "watched" => {}
                then => items.push((next.clone(), then.is_none_or(|then| progress(then) == "unstarted"))),
            }
        }
        Some(items)
    }
}

/// The newest that was acknowledged, and whatever newer may have arrived.
fn newest<T: Copy>(all: impl Iterator<Item = (u64, Fate, T)>) -> Candidates<T> {
    let (mut sure, mut maybe) = (None::<(u64, T)>, Vec::new());
    for (at, fate, what) in all {
        match fate {
            Fate::Unsent => {}
            Fate::Sent => maybe.push((at, what)),
            Fate::Acknowledged if sure.is_none_or(|(newest, _)| at >= newest) => sure = Some((at, what)),
            Fate::Acknowledged => {}
        }
    }
    let newer = maybe.into_iter().filter(|(at, _)| sure.is_none_or(|(newest, _)| *at > newest)).map(Some);
    std::iter::once(sure).chain(newer).collect()
}

fn newest_command<T: Copy>(ledger: &Ledger, of: impl Fn(&Wish) -> Option<T>) -> Candidates<T> {
    newest(ledger.commands.iter().filter_map(|command| Some((command.observed_at, command.fate, of(&command.wish)?))))
}

fn truths<'a>(ledger: &'a Ledger, id: &str) -> Vec<Truth<'a>> {
    let is = |title: &Title| title.id == id;
    let beats = || ledger.beats.iter().filter(|beat| is(beat.title));
    let latest = newest(beats().filter(|beat| beat.watched_ms >= SETTLED_MS).map(|b| (b.moved_at, b.fate, b)));
    let played_out = beats().filter(|beat| watched_from(beat.title).is_some_and(|from| beat.furthest_ms >= from));
    let marks = ledger.commands.iter().filter_map(|command| match command.wish {
        Wish::Watched(title, to) if is(title) => Some((command.observed_at, command.fate, to)),
        _ => None,
    });
    let watched = newest(played_out.map(|beat| (beat.moved_at, beat.fate, true)).chain(marks));
    let hidden = newest_command(ledger, |wish| match wish {
        Wish::Hidden(title, to) if is(title) => Some(*to),
        _ => None,
    });
    let forgotten = newest_command(ledger, |wish| matches!(wish, Wish::Forget(title) if is(title)).then_some(()));
    let mut truths = Vec::new();
    for forgotten in &forgotten {
        for latest in &latest {
            for watched in &watched {
                for hidden in &hidden {
                    let counts = |at: u64| forgotten.is_none_or(|(gone, ())| at > gone);
                    truths.push(Truth {
                        latest: latest.filter(|(at, _)| counts(*at)),
                        watched: watched.filter(|(at, _)| counts(*at)),
                        hidden: hidden.filter(|(at, _)| counts(*at)),
                    });
                }
            }
        }
    }
    truths
}

/// The furthest played point from which a title is watched.
fn watched_from(title: &Title) -> Option<u64> {
    let of_duration = |duration: u64| (duration * WATCHED_PERCENT / 100).min(duration - BEFORE_END_MS);
    title.credits_ms.or(title.duration_ms.map(of_duration))
}

fn progress(truth: &Truth<'_>) -> &'static str {
    let played_at = truth.latest.map(|(at, _)| at);
    if truth.watched.is_some_and(|(at, watched)| watched && Some(at) >= played_at) {
        return "watched";
    }
    let started = truth.latest.is_some_and(|(_, beat)| {
        let from = |duration: u64| STARTED_MS.min(duration * STARTED_PERCENT / 100);
        beat.title.duration_ms.is_some_and(|duration| beat.position_ms >= from(duration))
    });
    if started { "in_progress" } else { "unstarted" }
}

fn newest_of(truth: &Truth<'_>) -> u64 {
    let played_at = truth.latest.map_or(0, |(at, _)| at);
    played_at.max(truth.watched.map_or(0, |(at, _)| at))
}

fn is_hidden(truth: &Truth<'_>, since: u64) -> bool {
    truth.hidden.is_some_and(|(at, hidden)| hidden && at >= since)
}

fn resume_point(truth: &Truth<'_>) -> Value {
    let progress = progress(truth);
    let resumable = |beat: &Beat| beat.title.duration_ms.is_some_and(|duration| duration >= SHORTEST_MS);
    if progress == "unstarted" || truth.latest.is_some_and(|(_, beat)| !resumable(beat)) {
        return Value::Null;
    }
    let latest = truth.latest.map(|(_, beat)| beat);
    json!({
        "position_ms": latest.map_or(0, |beat| beat.position_ms),
        "duration_ms": latest.and_then(|beat| beat.title.duration_ms),
        "progress": progress, "moved_at": newest_of(truth), "device": latest.map(|beat| beat.device.as_str()),
    })
}
