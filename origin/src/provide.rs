//! The provide role: answers reads in registers; the rules that read them run at the edge, over what both know.

use std::collections::{BTreeMap, BTreeSet};

use playhead_shared::id::{AccountId, ProfileId, SessionId, TitleId};
use playhead_shared::register::{Entry, Fact, Kind, Latest, Register, Session};
use playhead_shared::rules::Rules;
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::title::{ProfileFacts, Progress};
use playhead_shared::wire::{Read, ReadAnswer, What, WireEntry};

use crate::store::{FactStore, Result, Store};

/// Answers one read.
pub async fn read(store: &impl Store, read: Read, rules: &Rules, now: Millis) -> Result<ReadAnswer> {
    let Read { account, profile, what } = read;
    let mut answer = ReadAnswer { server_time: now, ..ReadAnswer::default() };
    match what {
        What::Titles(titles) => answer.registers = known(store, &account, title_facts(&profile, &titles)).await?,
        What::ContinueWatching { limit, held } => {
            let facts = store.scan(&account, &profile, Kind::Latest, Kind::Forgotten).await?;
            answer.registers = wire(&account, continue_watching(&profile, facts, limit, held, rules));
        }
        What::History { limit, before } => {
            let page = history(store, &account, &profile, limit as usize, before).await?;
            answer.more = page.more;
            answer.registers = wire(&account, page.registers);
        }
        What::Streams => answer.streams = store.streams(&account, now).await?,
    }
    Ok(answer)
}

/// Those of the facts that there is a register of.
pub(crate) async fn known(store: &impl FactStore, account: &AccountId, facts: Vec<Fact>) -> Result<Vec<WireEntry>> {
    let registers = store.get(account, &facts).await?;
    let known = facts.into_iter().zip(registers).filter_map(|(fact, register)| Some((fact, register?)));
    Ok(wire(account, known))
}

/// All that says where a viewer is with some titles.
pub(crate) fn title_facts(profile: &ProfileId, titles: &[TitleId]) -> Vec<Fact> {
    let of_title = |title: &TitleId| {
        [Fact::Latest, Fact::Watched, Fact::Hidden, Fact::Forgotten].map(|make| make(profile.clone(), title.clone()))
    };
    titles.iter().flat_map(of_title).chain([Fact::Erased(profile.clone())]).collect()
}

fn wire(account: &AccountId, facts: impl IntoIterator<Item = (Fact, Register)>) -> Vec<WireEntry> {
    let entry = |(fact, register)| Entry { account: account.clone(), fact, register }.into();
    facts.into_iter().map(entry).collect()
}

/// The registers from which the edge works out continue watching of `limit` items, whatever it holds of the
/// `held` titles. Of a resume point that it holds, the edge names the title, its next title and its series: the
/// origin may know neither that the one follows the other nor where they belong.
///
/// That is what the newest series give that have something to go on with: `limit` of them, and as many more
/// as there are held titles, since each of these can take one away. Then the series that a held title is in or
/// follows on, with as many titles as the held ones could push aside; and the held titles themselves.
fn continue_watching(
    profile: &ProfileId,
    scanned: Vec<(Fact, Register)>,
    limit: u32,
    held: Vec<TitleId>,
    rules: &Rules,
) -> Vec<(Fact, Register)> {
    let mut facts = ProfileFacts::default();
    let mut titles = Vec::new();
    for (fact, register) in scanned {
        if let (Fact::Latest(_, title), Ok(latest)) = (&fact, register.value::<Latest>()) {
            titles.push((title.clone(), latest));
        }
        facts.merge(fact, register);
    }
    let held: BTreeSet<TitleId> = held.into_iter().collect();
    let mut wanted = held.clone();
    let mut room = (limit as usize).saturating_add(held.len());
    for series in newest_series(&facts, profile, titles, rules) {
        let touched = series.iter().any(|(title, latest)| {
            let of_it = [Some(title), latest.series.as_ref(), latest.next_title.as_ref()];
            of_it.into_iter().flatten().any(|id| held.contains(id))
        });
        let counted = room > 0 && gives_item(&facts, profile, &series[0], rules);
        if touched || counted {
            room -= usize::from(counted);
            for (title, latest) in series.into_iter().take(1 + held.len()) {
                wanted.extend(latest.next_title);
                wanted.insert(title);
            }
        }
    }
    let of_title = |title: TitleId| title_facts(profile, &[title]);
    let wanted: BTreeSet<Fact> = wanted.into_iter().flat_map(of_title).chain([Fact::Erased(profile.clone())]).collect();
    wanted.into_iter().filter_map(|fact| facts.get(&fact).cloned().map(|register| (fact, register))).collect()
}

/// The titles that are begun, by series, newest first in both. A title without a series is its own.
fn newest_series(
    facts: &ProfileFacts,
    profile: &ProfileId,
    titles: Vec<(TitleId, Latest)>,
    rules: &Rules,
) -> Vec<Vec<(TitleId, Latest)>> {
    let stamp = |fact| facts.get(&fact).map(Register::stamp).unwrap_or_default();
    let latest_at = |title: &TitleId| stamp(Fact::Latest(profile.clone(), title.clone()));
    let newest = |title: &TitleId| latest_at(title).max(stamp(Fact::Watched(profile.clone(), title.clone())));
    let mut begun: Vec<(Stamp, TitleId, Latest)> = (titles.into_iter())
        .filter(|(title, _)| counts(facts, profile, title, latest_at(title)))
        .filter(|(title, _)| facts.title(profile, title).progress(rules) != Progress::Unstarted)
        .map(|(title, latest)| (newest(&title), title, latest))
        .collect();
    begun.sort_by(|(a, x, _), (b, y, _)| b.cmp(a).then_with(|| x.cmp(y)));

    let mut places: BTreeMap<TitleId, usize> = BTreeMap::new();
    let mut series: Vec<Vec<(TitleId, Latest)>> = Vec::new();
    for (_, title, latest) in begun {
        let key = latest.series.clone().unwrap_or_else(|| title.clone());
        let place = *places.entry(key).or_insert(series.len());
        if place == series.len() {
            series.push(Vec::new());
        }
        series[place].push((title, latest));
    }
    series
}

/// Whether a series has something to go on with, where that title is its newest.
fn gives_item(facts: &ProfileFacts, profile: &ProfileId, newest: &(TitleId, Latest), rules: &Rules) -> bool {
    let titles: Vec<TitleId> = [Some(newest.0.clone()), newest.1.next_title.clone()].into_iter().flatten().collect();
    let mut of_series = ProfileFacts::default();
    for fact in title_facts(profile, &titles) {
        if let Some(register) = facts.get(&fact) {
            of_series.merge(fact, register.clone());
        }
    }
    !of_series.continue_watching(profile, 1, rules).is_empty()
}

struct Page {
    registers: Vec<(Fact, Register)>,
    more: bool,
}

/// A page of listed entries, with what takes entries of that time off the list, since the edge may hold such.
async fn history(
    store: &impl FactStore,
    account: &AccountId,
    profile: &ProfileId,
    limit: usize,
    before: Option<SessionId>,
) -> Result<Page> {
    let mut gone = ProfileFacts::default();
    let mut commands = store.scan(account, profile, Kind::Forgotten, Kind::Deleted).await?;
    for (fact, register) in &commands {
        gone.merge(fact.clone(), register.clone());
    }
    let mut page = Page { registers: Vec::new(), more: false };
    let mut end = before;
    'pages: loop {
        // One more than asked for tells whether there are more.
        let sessions = store.sessions(account, profile, end, limit + 1).await?;
        let last = sessions.len() <= limit;
        for (session, register) in sessions {
            end = Some(session);
            if !listed(&gone, profile, session, &register) {
                continue;
            }
            if page.registers.len() == limit {
                page.more = true;
                break 'pages;
            }
            page.registers.push((Fact::Session(profile.clone(), session), register));
        }
        if last {
            break;
        }
    }
    let oldest = if page.more { page.registers.last().and_then(|(fact, _)| session_of(fact)) } else { None };
    commands.retain(|(fact, register)| bears_on(fact, register, oldest, before));
    page.registers.extend(commands);
    Ok(page)
}

/// Whether an entry is listed: it was not deleted, and is newer than what was forgotten.
fn listed(gone: &ProfileFacts, profile: &ProfileId, session: SessionId, register: &Register) -> bool {
    let Ok(Session { title, .. }) = register.value() else { return false };
    gone.get(&Fact::Deleted(profile.clone(), session)).is_none() && counts(gone, profile, &title, register.stamp())
}

/// Whether what has that stamp is newer than what was forgotten of its title.
fn counts(facts: &ProfileFacts, profile: &ProfileId, title: &TitleId, stamp: Stamp) -> bool {
    let newer_than = |fact| facts.get(&fact).is_none_or(|command| stamp > command.stamp());
    newer_than(Fact::Forgotten(profile.clone(), title.clone())) && newer_than(Fact::Erased(profile.clone()))
}

fn session_of(fact: &Fact) -> Option<SessionId> {
    match fact {
        Fact::Session(_, session) | Fact::Deleted(_, session) => Some(*session),
        _ => None,
    }
}

/// Whether a command can concern an entry from `oldest` on and before `before`: it names one, or is newer than
/// the oldest one's birth, with the slack that a birth may lie ahead of its session's heartbeats.
fn bears_on(fact: &Fact, command: &Register, oldest: Option<SessionId>, before: Option<SessionId>) -> bool {
    match session_of(fact) {
        Some(session) => oldest.is_none_or(|oldest| session >= oldest) && before.is_none_or(|before| session < before),
        None => oldest.is_none_or(|oldest| {
            let slack_ms = Rules::default().birth_ahead_ms;
            command.stamp() >= Stamp::from(oldest.birth().minus(slack_ms))
        }),
    }
}
