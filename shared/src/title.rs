//! What the registers of a title mean to its viewer. Edge and origin read them here and nowhere else.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use serde::Serialize;

use crate::id::{DeviceId, ProfileId, SessionId, TitleId};
use crate::register::{Fact, Hidden, Latest, Register, Session, Watched};
use crate::rules::Rules;
use crate::time::{Millis, Stamp};

/// How far a viewer is with a title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Not begun, or not far enough to count.
    Unstarted,
    /// Begun, and not watched since.
    InProgress,
    /// Watched to the end, or marked so.
    Watched,
}

/// Where the viewer stopped in a title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResumePoint {
    /// Where, in content time.
    pub position_ms: u64,
    /// How long the title is.
    pub duration_ms: Option<u64>,
    /// How far that is.
    pub progress: Progress,
    /// When the position last moved, or the title was marked.
    pub moved_at: Millis,
    /// The device that moved it last; none where the title was only marked.
    pub device: Option<DeviceId>,
}

/// One line of continue watching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContinueItem {
    /// What to go on with.
    pub title_id: TitleId,
    /// The series that it belongs to.
    pub series_id: Option<TitleId>,
    /// Whether it follows a watched title of its series, and has not been begun.
    pub up_next: bool,
    /// Where to go on; 0 for what is up next.
    #[serde(flatten)]
    pub resume: ResumePoint,
}

/// The registers of one title, read.
#[derive(Clone, Debug, Default)]
pub struct TitleFacts {
    latest: Option<(Stamp, Latest)>,
    watched: Option<(Stamp, Watched)>,
    hidden: Option<(Stamp, Hidden)>,
}

impl TitleFacts {
    /// How far the viewer is.
    pub fn progress(&self, rules: &Rules) -> Progress {
        let latest_at = self.latest.as_ref().map(|(stamp, _)| *stamp);
        match (&self.watched, &self.latest) {
            (Some((at, Watched { watched: true })), _) if Some(*at) >= latest_at => Progress::Watched,
            (_, Some((_, latest))) if started(latest, rules) => Progress::InProgress,
            _ => Progress::Unstarted,
        }
    }

    /// Where the viewer stopped; none for what is unstarted, short or live.
    pub fn resume_point(&self, rules: &Rules) -> Option<ResumePoint> {
        let progress = self.progress(rules);
        if progress == Progress::Unstarted || self.latest.as_ref().is_some_and(|(_, l)| !resumable(l, rules)) {
            return None;
        }
        let latest = self.latest.as_ref().map(|(_, latest)| latest);
        Some(ResumePoint {
            position_ms: latest.map_or(0, |l| l.position_ms),
            duration_ms: latest.and_then(|l| l.duration_ms),
            progress,
            moved_at: self.newest().millis(),
            device: latest.map(|l| l.device.clone()),
        })
    }

    /// When anything of it last moved.
    fn newest(&self) -> Stamp {
        let latest = self.latest.as_ref().map(|(stamp, _)| *stamp);
        latest.max(self.watched.as_ref().map(|(stamp, _)| *stamp)).unwrap_or_default()
    }

    fn hidden_since(&self, stamp: Stamp) -> bool {
        matches!(&self.hidden, Some((at, Hidden { hidden: true })) if *at >= stamp)
    }

    fn latest(&self) -> Option<&Latest> {
        self.latest.as_ref().map(|(_, latest)| latest)
    }
}

fn resumable(latest: &Latest, rules: &Rules) -> bool {
    latest.duration_ms.is_some_and(|duration| duration >= rules.shortest_resumable_ms)
}

fn started(latest: &Latest, rules: &Rules) -> bool {
    latest.duration_ms.is_some_and(|duration| latest.position_ms >= rules.started_from_ms(duration))
}

/// What is known of one profile: its registers, merged, with the one rule of forgetting to read them by.
#[derive(Clone, Debug, Default)]
pub struct ProfileFacts {
    registers: HashMap<Fact, Register>,
}

impl ProfileFacts {
    /// Merges one register in.
    pub fn merge(&mut self, fact: Fact, register: Register) {
        match self.registers.entry(fact) {
            std::collections::hash_map::Entry::Occupied(mut held) => {
                if register > *held.get() {
                    held.insert(register);
                }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(register);
            }
        }
    }

    /// The register of one fact, whether it counts or not.
    pub fn get(&self, fact: &Fact) -> Option<&Register> {
        self.registers.get(fact)
    }

    /// Whether something of that title with that stamp counts: it is newer than what was forgotten.
    fn counts(&self, profile: &ProfileId, title: &TitleId, stamp: Stamp) -> bool {
        let newer_than = |fact| self.get(&fact).is_none_or(|gone| stamp > gone.stamp());
        newer_than(Fact::Forgotten(profile.clone(), title.clone())) && newer_than(Fact::Erased(profile.clone()))
    }

    /// The facts of one title, as far as they count.
    pub fn title(&self, profile: &ProfileId, title: &TitleId) -> TitleFacts {
        fn read<T: for<'b> minicbor::Decode<'b, ()>>(
            of: &ProfileFacts,
            fact: Fact,
            profile: &ProfileId,
            title: &TitleId,
        ) -> Option<(Stamp, T)> {
            let register = of.get(&fact)?;
            let stamp = register.stamp();
            if of.counts(profile, title, stamp) { Some((stamp, register.value().ok()?)) } else { None }
        }
        let key = || (profile.clone(), title.clone());
        let fact = |make: fn(ProfileId, TitleId) -> Fact| {
            let (profile, title) = key();
            make(profile, title)
        };
        TitleFacts {
            latest: read(self, fact(Fact::Latest), profile, title),
            watched: read(self, fact(Fact::Watched), profile, title),
            hidden: read(self, fact(Fact::Hidden), profile, title),
        }
    }

    /// Where the viewer stopped in one title.
    pub fn resume_point(&self, profile: &ProfileId, title: &TitleId, rules: &Rules) -> Option<ResumePoint> {
        self.title(profile, title).resume_point(rules)
    }

    /// The first `limit` items of continue watching, newest first: what is in progress, and what is up next.
    pub fn continue_watching(&self, profile: &ProfileId, limit: usize, rules: &Rules) -> Vec<ContinueItem> {
        // A heap, because a list shows the newest few of possibly thousands, and because the code of a sort is as
        // large as the rest of this file.
        let mut titles: BinaryHeap<(Stamp, Reverse<&TitleId>)> = (self.registers.keys())
            .filter_map(|fact| match fact {
                Fact::Latest(of, title) if of == profile => Some(title),
                _ => None,
            })
            .map(|title| (self.title(profile, title).newest(), Reverse(title)))
            .collect();
        let mut seen_series = HashSet::new();
        let mut items = Vec::new();
        while let Some((_, Reverse(title))) = titles.pop() {
            let facts = self.title(profile, title);
            let Some(latest) = facts.latest() else { continue };
            if facts.progress(rules) == Progress::Unstarted {
                continue;
            }
            let series = latest.series.clone();
            if seen_series.insert(series.clone().unwrap_or_else(|| title.clone())) {
                items.extend(self.continue_item(profile, title.clone(), series, &facts, rules));
                if items.len() == limit {
                    break;
                }
            }
        }
        items
    }

    /// What to go on with, where that title is the newest of its series.
    fn continue_item(
        &self,
        profile: &ProfileId,
        title_id: TitleId,
        series_id: Option<TitleId>,
        facts: &TitleFacts,
        rules: &Rules,
    ) -> Option<ContinueItem> {
        if facts.hidden_since(facts.newest()) {
            return None;
        }
        if facts.progress(rules) == Progress::InProgress {
            return Some(ContinueItem { title_id, series_id, up_next: false, resume: facts.resume_point(rules)? });
        }
        let next_id = facts.latest()?.next_title.clone()?;
        let next = self.title(profile, &next_id);
        let hidden = next.hidden_since(facts.newest().max(next.newest()));
        match next.progress(rules) {
            _ if hidden => None,
            Progress::Watched => None,
            Progress::InProgress => {
                let resume = next.resume_point(rules)?;
                Some(ContinueItem { title_id: next_id, series_id, up_next: false, resume })
            }
            Progress::Unstarted => {
                let resume = ResumePoint {
                    position_ms: 0,
                    duration_ms: None,
                    progress: Progress::Unstarted,
                    moved_at: facts.newest().millis(),
                    device: None,
                };
                Some(ContinueItem { title_id: next_id, series_id, up_next: true, resume })
            }
        }
    }

    /// Every play of the profile with its stamp, whether it is listed or not, in no order.
    pub fn sessions(&self, profile: &ProfileId) -> impl Iterator<Item = (SessionId, Stamp, Session)> {
        self.registers.iter().filter_map(move |(fact, register)| match fact {
            Fact::Session(of, id) if of == profile => Some((*id, register.stamp(), register.value().ok()?)),
            _ => None,
        })
    }

    /// The history entries that are listed, newest birth first.
    pub fn history(&self, profile: &ProfileId) -> Vec<(SessionId, Stamp, Session)> {
        let mut entries: Vec<Option<(SessionId, Stamp, Session)>> = (self.sessions(profile))
            .filter(|(id, stamp, session)| {
                self.get(&Fact::Deleted(profile.clone(), *id)).is_none() && self.counts(profile, &session.title, *stamp)
            })
            .map(Some)
            .collect();
        let births = entries.iter().enumerate().filter_map(|(at, entry)| Some((entry.as_ref()?.0, at)));
        let mut newest: BinaryHeap<(SessionId, usize)> = births.collect();
        std::iter::from_fn(|| newest.pop().and_then(|(_, at)| entries[at].take())).collect()
    }
}
