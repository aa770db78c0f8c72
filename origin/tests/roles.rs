//! What the roles make of a store: known facts, events, real deletion, and reads that an edge can rely on.

mod common;

use common::*;
use playhead_origin::store::{FactStore, Store};
use playhead_origin::{collect, provide};
use playhead_shared::heartbeat::{Event, Heartbeat};
use playhead_shared::id::SessionId;
use playhead_shared::moves::{Command, Viewer, command_move, heartbeat_moves};
use playhead_shared::register::{EndReason, Entry, Fact, Gone, Latest, Register};
use playhead_shared::rules::Rules;
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::title::ProfileFacts;
use playhead_shared::wire::{Admission, Batch, Lease, Outcome, Read, ReadAnswer, What};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

on_every_backend!([
    a_batch_is_told_what_keeps_it_from_counting,
    an_admission_brings_the_titles_registers,
    every_happening_is_one_event,
    ends_that_the_origin_sees_are_events,
    what_forgetting_condemns_is_deleted_and_nothing_else,
    what_deleting_condemns_is_deleted_and_nothing_else,
    what_erasing_condemns_is_deleted_and_nothing_else,
    history_lists_what_counts_newest_first_in_pages,
    streams_are_the_accounts_oldest_birth_first,
    continue_watching_is_as_if_one_place_knew_it_all,
    a_mark_on_a_forgotten_title_hides_no_other_of_its_series,
    incognito_leaves_a_stream_and_no_fact,
]);

fn erase(ms: u64) -> Entry {
    let register = Register::new(Stamp::from(at(ms)), &Gone {});
    Entry { account: account(), fact: Fact::Erased(profile()), register }
}

fn facts_of(entries: &[playhead_shared::wire::WireEntry]) -> Vec<Fact> {
    let mut facts: Vec<Fact> = entries.iter().map(|e| Entry::try_from(e.clone()).unwrap().fact).collect();
    facts.sort();
    facts
}

async fn ask(store: &impl Store, what: What) -> ReadAnswer {
    let read = Read { account: account(), profile: profile(), what };
    provide::read(store, read, &Rules::default(), at(DAY)).await.unwrap()
}

async fn a_batch_is_told_what_keeps_it_from_counting(backend: impl Backend) {
    let store = backend.open().await;
    let entries = vec![
        command(Command::Forget(title("film")), 5_000),
        command(Command::Forget(title("other")), 5_000),
        command(Command::Delete(session(1)), 5_000),
        command(Command::Delete(session(9)), 5_000),
        command(Command::End(session(1), EndReason::Stopped), 5_000),
        command(Command::End(session(9), EndReason::Stopped), 5_000),
        erase(4_000),
    ];
    take(&store, entries, vec![], 5_000).await;
    let registers = moves(&beat(1, "film", 4_000, 20)).into_iter().map(Into::into).collect();
    let answer = collect::batch(&store, Batch { registers, leases: vec![] }, at(6_000)).await.unwrap();
    let (film, one) = (title("film"), session(1));
    let mut expected = vec![
        Fact::Forgotten(profile(), film),
        Fact::Erased(profile()),
        Fact::Deleted(profile(), one),
        Fact::Ended(one),
    ];
    expected.sort();
    assert_eq!(facts_of(&answer.known), expected);
    assert_eq!(answer.server_time, at(6_000));

    let leases = vec![lease(9, 6_000), lease(2, 6_000)];
    let answer = collect::batch(&store, Batch { registers: vec![], leases }, at(6_000)).await.unwrap();
    assert_eq!(facts_of(&answer.known), [Fact::Ended(session(9))]);
    assert_eq!(answer.verdicts, []);
}

async fn an_admission_brings_the_titles_registers(backend: impl Backend) {
    let store = backend.open().await;
    take(&store, moves(&beat(1, "film", 4_000, 58)), vec![], 4_000).await;
    take(&store, moves(&beat(2, "other", 4_000, 20)), vec![], 4_000).await;
    take(&store, vec![command(Command::Hide(title("film"), true), 5_000)], vec![], 5_000).await;
    let admission = Admission { lease: lease(3, 6_000), batch: Batch::default() };
    let answer = collect::admission(&store, admission, at(6_000)).await.unwrap();
    assert_eq!((answer.outcome, answer.renewed, answer.streams.len()), (Outcome::Admitted, false, 1));
    let film = || (profile(), title("film"));
    let make = |make: fn(_, _) -> Fact| make(film().0, film().1);
    assert_eq!(facts_of(&answer.registers), [make(Fact::Latest), make(Fact::Watched), make(Fact::Hidden)]);
}

async fn every_happening_is_one_event(backend: impl Backend) {
    let store = backend.open().await;
    let stop = |ms| Heartbeat { event: Event::Stop, ..beat(1, "film", ms, 58) };
    // Twice, as edges may send it; and process is behind, or right after, or both.
    for _ in 0..2 {
        for ms in [1_000, 2_000] {
            take(&store, moves(&beat(1, "film", ms, 10)), vec![lease(1, ms)], ms).await;
        }
        process(&store, 2_000).await;
        for (ms, position) in [(3_000, 55), (4_000, 57)] {
            take(&store, moves(&beat(1, "film", ms, position)), vec![], ms).await;
        }
        take(&store, moves(&stop(5_000)), vec![Lease { stopped: true, ..lease(1, 5_000) }], 5_000).await;
        process(&store, 5_000).await;
        process(&store, 5_000).await;
    }
    assert_eq!(words(&store, 5_000).await, ["session_started", "title_watched", "session_ended"]);
    let all = events(&store, 5_000).await;
    assert!(all.iter().all(|event| event.session_id == Some(session(1)) && event.title_id == Some(title("film"))));

    // A rewatch is another; the viewer's mark is one for each mark.
    take(&store, moves(&beat(2, "film", 20_000, 57)), vec![], 20_000).await;
    take(&store, moves(&beat(2, "film", 21_000, 58)), vec![], 21_000).await;
    let mark = || vec![command(Command::MarkWatched(title("other"), true), 22_000)];
    take(&store, mark(), vec![], 22_000).await;
    take(&store, mark(), vec![], 23_000).await;
    process(&store, 23_000).await;
    let watched: Vec<_> = (events(&store, 23_000).await.into_iter())
        .filter(|event| event.kind.word() == "title_watched")
        .map(|event| (event.title_id.unwrap().to_string(), event.session_id))
        .collect();
    let expected = [("film", Some(session(1))), ("film", Some(session(2))), ("other", None)];
    assert_eq!(watched, expected.map(|(title, session)| (title.to_owned(), session)));
}

async fn ends_that_the_origin_sees_are_events(backend: impl Backend) {
    let store = backend.open().await;
    let leases = vec![lease(1, 0), Lease { incognito: true, ..lease(2, 0) }, lease(3, 0)];
    take(&store, vec![], leases, 0).await;
    take(&store, vec![], vec![lease(3, 30_000)], 30_000).await;
    let ends = vec![
        command(Command::End(session(7), EndReason::Evicted), 40_000),
        command(Command::End(session(8), EndReason::Stopped), 40_000),
    ];
    take(&store, ends.clone(), vec![], 40_000).await;
    process(&store, 40_000).await;
    process(&store, 89_999).await;
    assert_eq!(words(&store, 90_000).await, ["limit_reached", "session_evicted", "session_stopped"]);
    process(&store, 90_000).await;
    process(&store, 91_000).await;
    take(&store, ends, vec![], 92_000).await;
    process(&store, 92_000).await;
    assert_eq!(words(&store, 92_000).await, ["limit_reached", "session_evicted", "session_stopped", "session_expired"]);
    assert_eq!(events(&store, 92_000).await[0].session_id, Some(session(3)), "told once, though it asked twice");
    assert_eq!(events(&store, 92_000).await[3].session_id, Some(session(1)));
}

async fn what_forgetting_condemns_is_deleted_and_nothing_else(backend: impl Backend) {
    let (p, film) = (profile(), title("film"));
    let left = [of_other(), vec![Fact::Forgotten(p, film)]].concat();
    only_what_is_condemned_is_deleted(backend, command(Command::Forget(title("film")), 5_000), left).await;
}

async fn what_deleting_condemns_is_deleted_and_nothing_else(backend: impl Backend) {
    let (p, film) = (profile(), title("film"));
    let left = [of_other(), vec![Fact::Latest(p.clone(), film), Fact::Deleted(p, session(1))]].concat();
    only_what_is_condemned_is_deleted(backend, command(Command::Delete(session(1)), 5_000), left).await;
}

async fn what_erasing_condemns_is_deleted_and_nothing_else(backend: impl Backend) {
    only_what_is_condemned_is_deleted(backend, erase(5_000), vec![Fact::Erased(profile())]).await;
}

fn of_other() -> Vec<Fact> {
    vec![Fact::Session(profile(), session(2)), Fact::Latest(profile(), title("other"))]
}

async fn only_what_is_condemned_is_deleted(backend: impl Backend, condemning: Entry, mut left: Vec<Fact>) {
    let store = backend.open().await;
    let played = || [moves(&beat(1, "film", 4_000, 20)), moves(&beat(2, "other", 4_000, 20))].concat();
    take(&store, played(), vec![], 4_000).await;
    if matches!(condemning.fact, Fact::Erased(_)) {
        take(&store, vec![command(Command::Forget(title("old")), 3_000)], vec![], 4_000).await;
    }
    take(&store, vec![condemning], vec![], 5_000).await;
    process(&store, 5_000).await;
    left.sort();
    let facts = async || {
        let mut facts: Vec<Fact> = all(&store).await.into_iter().map(|(fact, _)| fact).collect();
        facts.sort();
        facts
    };
    assert_eq!(facts().await, left);

    // A late write comes, is not listed, and goes after the accept window; what is newer stays.
    take(&store, played(), vec![], 6_000).await;
    assert_ne!(facts().await, left);
    process(&store, 30 * DAY).await;
    assert_ne!(facts().await, left);
    take(&store, moves(&beat(5, "film", 7_000, 21)), vec![], 6_000).await;
    process(&store, 31 * DAY + 5_000).await;
    let newer = moves(&beat(5, "film", 7_000, 21)).into_iter().map(|entry| entry.fact);
    left.extend(newer.filter(|fact| fact.profile().is_some()));
    left.sort();
    left.dedup();
    assert_eq!(facts().await, left);
}

async fn history_lists_what_counts_newest_first_in_pages(backend: impl Backend) {
    let store = backend.open().await;
    for n in 1..=6 {
        let film = if n == 3 { "forgotten" } else { "film" };
        take(&store, moves(&beat(n, film, 10_000 + n, 20)), vec![], 20_000).await;
    }
    let gone = vec![
        command(Command::Delete(session(5)), 11_000),
        command(Command::Forget(title("forgotten")), 11_000),
        command(Command::Forget(title("long-ago")), 1),
    ];
    take(&store, gone, vec![], 20_000).await;
    let page = async |limit, before: Option<u64>| {
        let answer = ask(&store, What::History { limit, before: before.map(session) }).await;
        let (entries, commands): (Vec<_>, Vec<_>) = (answer.registers.into_iter())
            .map(|wire| Entry::try_from(wire).unwrap().fact)
            .partition(|fact| matches!(fact, Fact::Session(..)));
        let entries: Vec<u64> = (entries.iter())
            .map(|fact| match fact {
                Fact::Session(_, id) => (id.birth().0 - T0) / SECOND,
                _ => unreachable!(),
            })
            .collect();
        (entries, answer.more, commands)
    };
    let (p, gone) = (profile(), title("forgotten"));
    let (deleted, forgotten) = (Fact::Deleted(p.clone(), session(5)), Fact::Forgotten(p.clone(), gone));
    let long_ago = Fact::Forgotten(p, title("long-ago"));
    assert_eq!(page(2, None).await, (vec![6, 4], true, vec![forgotten.clone(), long_ago.clone(), deleted.clone()]));
    assert_eq!(page(2, Some(4)).await, (vec![2, 1], false, vec![forgotten.clone(), long_ago.clone()]));
    assert_eq!(page(4, None).await, (vec![6, 4, 2, 1], false, vec![forgotten.clone(), long_ago.clone(), deleted]));
    assert_eq!(page(1, Some(2)).await, (vec![1], false, vec![forgotten.clone(), long_ago.clone()]));
    assert_eq!(page(1, Some(1)).await, (vec![], false, vec![forgotten, long_ago]));
}

async fn streams_are_the_accounts_oldest_birth_first(backend: impl Backend) {
    let store = backend.open().await;
    take(&store, vec![], vec![lease(2, DAY), lease(1, DAY)], DAY).await;
    let streams = ask(&store, What::Streams).await.streams;
    assert_eq!(streams.iter().map(|stream| stream.session).collect::<Vec<_>>(), [session(1), session(2)]);
}

/// A few episodes of a few series, and films; played, marked, hidden and forgotten at a few times.
fn happenings() -> impl Strategy<Value = Vec<Entry>> {
    let happening = (0..4u64, 0..4u64, 0..40u64, prop_oneof![Just(1), Just(20), Just(58)], 0..8u8);
    let happening = happening.prop_map(|(series, episode, ms, position, what)| {
        let name = |episode| format!("s{series}e{episode}");
        let film = name(episode);
        match what {
            0 => vec![command(Command::MarkWatched(title(&film), ms % 2 == 0), ms)],
            1 => vec![command(Command::Hide(title(&film), ms % 3 != 0), ms)],
            2 => vec![command(Command::Forget(title(&film)), ms)],
            _ => moves(&Heartbeat {
                series: (series > 0).then(|| title(&format!("s{series}"))),
                next_title: (series > 0).then(|| title(&name(episode + 1))),
                session: SessionId::of_birth(Millis(T0), ms),
                ..beat(1, &film, ms, position)
            }),
        }
    });
    prop::collection::vec(happening, 0..24).prop_map(|all| all.into_iter().flatten().collect())
}

/// The heart of the agreement between edge and origin: worked out from what the origin answers and what the edge
/// holds, continue watching is what it would be if one place knew it all.
async fn continue_watching_is_as_if_one_place_knew_it_all(backend: impl Backend) {
    let store = backend.open().await;
    let mut runner = TestRunner::deterministic();
    let (mut items, mut differing) = (0, 0);
    for case in 0..1500 {
        let of_case = Viewer { account: format!("account-{case}").parse().unwrap(), ..viewer() };
        let rename = |entry: Entry| Entry { account: of_case.account.clone(), ..entry };
        let at_origin = happenings().new_tree(&mut runner).unwrap().current();
        let at_edge: Vec<Entry> = happenings().new_tree(&mut runner).unwrap().current().into_iter().take(6).collect();
        take(&store, at_origin.iter().cloned().map(rename).collect(), vec![], 0).await;
        let held = at_edge.iter().flat_map(|entry| match &entry.fact {
            Fact::Latest(_, title) => {
                let latest: Latest = entry.register.value().unwrap();
                [Some(title.clone()), latest.series, latest.next_title]
            }
            Fact::Watched(_, title) | Fact::Hidden(_, title) | Fact::Forgotten(_, title) => {
                [Some(title.clone()), None, None]
            }
            _ => [None, None, None],
        });
        let mut held: Vec<_> = held.flatten().collect();
        held.sort();
        held.dedup();
        let limit = 1 + case % 3;
        let read =
            Read { account: of_case.account.clone(), profile: profile(), what: What::ContinueWatching { limit, held } };
        let answer = provide::read(&store, read, &Rules::default(), at(DAY)).await.unwrap();
        let answered = answer.registers.into_iter().map(|wire| Entry::try_from(wire).unwrap());

        let works_out = |entries: &mut dyn Iterator<Item = Entry>| {
            let mut facts = ProfileFacts::default();
            entries.for_each(|entry| facts.merge(entry.fact, entry.register));
            facts.continue_watching(&profile(), limit as usize, &Rules::default())
        };
        let one_place = works_out(&mut at_origin.iter().chain(&at_edge).cloned());
        let two_places = works_out(&mut answered.chain(at_edge.iter().cloned()));
        assert_eq!(two_places, one_place, "case {case}: {at_origin:?} {at_edge:?}");
        items += one_place.len();
        differing += usize::from(works_out(&mut at_origin.iter().cloned()) != one_place);
    }
    assert!(items > 400 && differing > 50, "the cases say something: {items} {differing}");
}

async fn a_mark_on_a_forgotten_title_hides_no_other_of_its_series(backend: impl Backend) {
    let store = backend.open().await;
    let episode = |n: u64, film: &str| Heartbeat { series: Some(title("series")), ..beat(n, film, n * 1_000, 20) };
    take(&store, [moves(&episode(1, "e1")), moves(&episode(2, "e2"))].concat(), vec![], 0).await;
    let then =
        vec![command(Command::Forget(title("e2")), 3_000), command(Command::MarkWatched(title("e2"), true), 4_000)];
    take(&store, then, vec![], 0).await;
    let answer = ask(&store, What::ContinueWatching { limit: 1, held: vec![] }).await;
    assert!(facts_of(&answer.registers).contains(&Fact::Latest(profile(), title("e1"))), "{answer:?}");
}

async fn incognito_leaves_a_stream_and_no_fact(backend: impl Backend) {
    let store = backend.open().await;
    let hidden = Viewer { incognito: true, ..viewer() };
    let entries = heartbeat_moves(&hidden, &beat(1, "film", 0, 58), &Rules::default());
    take(&store, entries, vec![Lease { incognito: true, ..lease(1, 0) }], 0).await;
    let stop = command_move(&hidden, Command::End(session(2), EndReason::Evicted), at(1));
    take(&store, vec![stop], vec![], 1).await;
    assert_eq!(all(&store).await, []);
    assert_eq!(store.get(&account(), &[Fact::Profile(profile())]).await.unwrap(), [None]);
}
