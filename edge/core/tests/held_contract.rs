//! The contract of `Held`, run against both of its forms over a real SQLite.

mod support;

use playhead_edge::held::journal::Journal;
use playhead_edge::held::rows::Rows;
use playhead_edge::held::{Change, Held, HeldError, Holdings, Item, KEEP_SETTLED_MS, Key, Learnt, SWEEP_EVERY_MS};
use playhead_edge::host::Host;
use playhead_shared::register::{Fact, Hidden, Register};
use playhead_shared::time::{Millis, Stamp};
use support::{Origin, START, Sqlite, World, in_virtual_time};

fn key(title: &str) -> Key {
    let fact = Fact::Hidden("ada".parse().unwrap(), title.parse().unwrap());
    Key { account: "acme".parse().unwrap(), item: Item::Fact(fact) }
}

fn register(stamp: u64) -> Register {
    Register::new(Stamp(stamp), &Hidden { hidden: true })
}

fn change(title: &str, stamp: u64, due: u64) -> Change {
    Change { key: key(title), register: register(stamp), due: START.plus(due) }
}

/// A form of `Held`, opened over a database that may have been used before.
trait Form {
    type Opened: Held;
    async fn open(sql: &Sqlite, world: &World) -> Self::Opened;
}

struct AsJournal;
impl Form for AsJournal {
    type Opened = Journal<World, Sqlite>;
    async fn open(sql: &Sqlite, world: &World) -> Self::Opened {
        Journal::open(world.clone(), sql.clone()).await.unwrap()
    }
}

struct AsRows;
impl Form for AsRows {
    type Opened = Rows<Sqlite>;
    async fn open(sql: &Sqlite, _: &World) -> Self::Opened {
        Rows::open(sql.clone()).await.unwrap()
    }
}

/// What is held of the profile: title, stamp and whether it is pending.
async fn held(held: &impl Held) -> Vec<(String, u64, bool)> {
    let read = held.read(&"acme".parse().unwrap(), &"ada".parse().unwrap()).await.unwrap();
    let mut all: Vec<_> = (Holdings::of(read).held.into_iter())
        .map(|(fact, register, pending)| (fact.name(), register.stamp().0, pending))
        .collect();
    all.sort();
    all
}

async fn due(held: &impl Held, ms: u64) -> Vec<(Key, Register)> {
    held.due(START.plus(ms), 100).await.unwrap()
}

async fn pending(held: &impl Held, ms: u64) -> Vec<u64> {
    due(held, ms).await.into_iter().map(|(_, register)| register.stamp().0).collect()
}

fn seen(title: &str, stamp: u64, pending: bool) -> (String, u64, bool) {
    (title.to_owned(), stamp, pending)
}

macro_rules! contract {
    ($($name:ident)*) => {
        mod journal {
            $(#[test] fn $name() { super::in_virtual_time(super::$name::<super::AsJournal>()); })*
        }
        mod rows {
            $(#[test] fn $name() { super::in_virtual_time(super::$name::<super::AsRows>()); })*
        }
    };
}

contract! {
    the_newest_stays_whatever_the_order
    a_later_change_never_postpones_an_earlier_due_time
    the_same_again_can_be_due_earlier
    what_was_merged_is_there_after_a_restart
    what_is_still_pending_of_old_requests_is_pending_after_a_restart
    only_what_was_sent_is_settled
    what_was_settled_stays_readable_until_a_later_answer_replaces_it
    an_answer_never_drops_what_is_pending
    what_the_origin_cannot_read_waits_and_is_not_lost
    one_flush_at_a_time_until_its_claim_runs_out
    after_a_failure_nothing_is_due_before_the_next_attempt
    a_failed_write_takes_nothing
    what_was_settled_long_ago_is_swept
    profiles_and_accounts_do_not_see_each_other
    concurrent_merges_are_all_taken
}

async fn the_newest_stays_whatever_the_order<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    for stamp in [5, 9, 7, 9] {
        it.merge(vec![change("a", stamp, 10)]).await.unwrap();
    }
    it.merge(vec![change("b", 3, 10), change("b", 4, 10), change("b", 1, 10)]).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 9, true), seen("b", 4, true)]);
}

async fn a_later_change_never_postpones_an_earlier_due_time<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 500)]).await.unwrap();
    it.merge(vec![change("a", 2, 30_000)]).await.unwrap();
    it.merge(vec![change("b", 1, 20_000)]).await.unwrap();
    it.merge(vec![change("b", 2, 700)]).await.unwrap();
    assert_eq!(it.next_due().await.unwrap(), Some(START.plus(500)));
    assert!(due(&it, 499).await.is_empty());
    assert_eq!(pending(&it, 500).await, [2]);
    assert_eq!(due(&it, 700).await.len(), 2);
    assert_eq!(it.due(START.plus(700), 1).await.unwrap(), [(key("a"), register(2))]);
}

async fn the_same_again_can_be_due_earlier<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 30_000)]).await.unwrap();
    it.merge(vec![change("a", 1, 500)]).await.unwrap();
    it.merge(vec![change("a", 1, 20_000)]).await.unwrap();
    assert_eq!(it.next_due().await.unwrap(), Some(START.plus(500)));
    it.settle(due(&it, 500).await, START.plus(500)).await.unwrap();
    it.merge(vec![change("a", 1, 600)]).await.unwrap();
    assert_eq!(it.next_due().await.unwrap(), None, "the origin has it");
}

async fn what_was_merged_is_there_after_a_restart<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 500), change("b", 1, 900)]).await.unwrap();
    it.merge(vec![change("a", 2, 800)]).await.unwrap();
    drop(it);
    let it = F::open(&sql, &world).await;
    assert_eq!(held(&it).await, [seen("a", 2, true), seen("b", 1, true)]);
    assert_eq!(it.next_due().await.unwrap(), Some(START.plus(500)));
    it.settle(due(&it, 900).await, START.plus(900)).await.unwrap();
    it.release(START, 0).await.unwrap();
    let it = F::open(&sql, &world).await;
    assert_eq!(held(&it).await, [seen("a", 2, false), seen("b", 1, false)]);
    assert_eq!(it.next_due().await.unwrap(), None);
}

/// The journal writes what is left of thin rows as one, and keeps the old rows, whose other registers can be read.
async fn what_is_still_pending_of_old_requests_is_pending_after_a_restart<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    for n in 0..20 {
        let soon = (0..9).map(|m| change(&format!("soon-{n}-{m}"), 1, 0));
        it.merge(soon.chain([change(&format!("late-{n}"), 2, 30_000)]).collect()).await.unwrap();
    }
    it.settle(it.due(START, 1_000).await.unwrap(), START).await.unwrap();
    it.release(START, 0).await.unwrap();
    assert_eq!(pending(&it, 30_000).await, [2; 20]);
    let it = F::open(&sql, &world).await;
    assert_eq!(pending(&it, 30_000).await, [2; 20]);
    assert_eq!(held(&it).await.len(), 200);
}

async fn only_what_was_sent_is_settled<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 0), change("b", 1, 0)]).await.unwrap();
    let sent = due(&it, 0).await;
    it.merge(vec![change("a", 2, 0)]).await.unwrap();
    it.settle(sent, START).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 2, true), seen("b", 1, false)]);
    assert_eq!(pending(&it, 0).await, [2]);
}

async fn what_was_settled_stays_readable_until_a_later_answer_replaces_it<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 5, 0)]).await.unwrap();
    it.settle(due(&it, 0).await, START.plus(100)).await.unwrap();
    let learn = |answer: &[u64], at| Learnt {
        asked: vec![key("a")],
        answer: answer.iter().map(|stamp| (key("a"), register(*stamp))).collect(),
        requested_at: START.plus(at),
    };
    it.learn(learn(&[], 100)).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 5, false)], "asked before it was settled");
    it.learn(learn(&[4], 50)).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 5, false)], "an older answer");
    it.learn(learn(&[6], 50)).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 6, false)], "a newer register wins at once");
    it.learn(learn(&[], 101)).await.unwrap();
    assert_eq!(held(&it).await, [], "the origin has it no more");
}

async fn an_answer_never_drops_what_is_pending<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 5, 0)]).await.unwrap();
    let learnt = |answer| Learnt { asked: vec![key("a")], answer, requested_at: START.plus(1_000) };
    it.learn(learnt(vec![])).await.unwrap();
    it.learn(learnt(vec![(key("a"), register(4))])).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 5, true)]);
    it.learn(learnt(vec![(key("a"), register(6))])).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 6, false)], "the origin has a newer one: nothing is left to send");
    it.merge(vec![change("a", 5, 0)]).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 6, false)], "a late one changes nothing");
}

async fn what_the_origin_cannot_read_waits_and_is_not_lost<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 0)]).await.unwrap();
    it.put_aside(due(&it, 0).await, START.plus(3_600_000)).await.unwrap();
    assert!(due(&it, 3_599_999).await.is_empty());
    assert_eq!(pending(&it, 3_600_000).await, [1]);
}

async fn one_flush_at_a_time_until_its_claim_runs_out<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    assert_eq!(it.claim(START, START.plus(30)).await.unwrap(), Some(0));
    assert_eq!(it.claim(START.plus(29), START.plus(60)).await.unwrap(), None);
    assert_eq!(it.claim(START.plus(30), START.plus(60)).await.unwrap(), Some(0), "its holder died");
    it.release(START.plus(40), 0).await.unwrap();
    assert_eq!(it.claim(START.plus(40), START.plus(70)).await.unwrap(), Some(0));
}

async fn after_a_failure_nothing_is_due_before_the_next_attempt<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 0)]).await.unwrap();
    assert_eq!(it.claim(START, START.plus(30)).await.unwrap(), Some(0));
    it.release(START.plus(700), 3).await.unwrap();
    assert_eq!(it.next_due().await.unwrap(), Some(START.plus(700)));
    assert_eq!(it.claim(START.plus(699), START.plus(999)).await.unwrap(), None);
    assert_eq!(it.claim(START.plus(700), START.plus(999)).await.unwrap(), Some(3));
}

async fn a_failed_write_takes_nothing<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    sql.broken.set(true);
    assert!(matches!(it.merge(vec![change("a", 1, 0)]).await, Err(HeldError::Failed(_))));
    assert_eq!(held(&it).await, []);
    sql.broken.set(false);
    it.merge(vec![change("a", 1, 0)]).await.unwrap();
    assert_eq!(held(&it).await, [seen("a", 1, true)]);
}

async fn what_was_settled_long_ago_is_swept<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    it.merge(vec![change("a", 1, 0), change("b", 1, 10)]).await.unwrap();
    it.settle(due(&it, 0).await, START).await.unwrap();
    it.claim(START, START).await.unwrap();
    it.sweep(START.plus(KEEP_SETTLED_MS)).await.unwrap();
    assert_eq!(held(&it).await.len(), 2);
    it.sweep(START.plus(KEEP_SETTLED_MS + SWEEP_EVERY_MS)).await.unwrap();
    assert_eq!(held(&it).await, [seen("b", 1, true)], "what is pending stays for ever");
}

async fn profiles_and_accounts_do_not_see_each_other<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    let of = |account: &str, fact| Change {
        key: Key { account: account.parse().unwrap(), item: Item::Fact(fact) },
        register: register(1),
        due: START,
    };
    let hidden = |profile: &str| Fact::Hidden(profile.parse().unwrap(), "film".parse().unwrap());
    let accounts = Fact::Profile("ben".parse().unwrap());
    it.merge(vec![
        of("acme", hidden("ada")),
        of("acme", hidden("ben")),
        of("other", hidden("ada")),
        of("acme", accounts),
    ])
    .await
    .unwrap();
    assert_eq!(held(&it).await, [seen("ben", 1, true), seen("film", 1, true)]);
}

async fn concurrent_merges_are_all_taken<F: Form>() {
    let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
    let it = F::open(&sql, &world).await;
    let merges = (0..300u64).map(|n| it.merge(vec![change(&format!("t{}", n % 30), n, 10)]));
    let results = futures_util::future::join_all(merges).await;
    assert!(results.iter().all(Result::is_ok));
    let it = F::open(&sql, &world).await;
    let all = held(&it).await;
    assert_eq!(all.len(), 30);
    assert!(all.iter().all(|(_, stamp, _)| *stamp >= 270), "{all:?}");
}

/// The work of a request must not grow with what others have left in the database.
#[test]
fn rows_are_found_by_their_keys() {
    in_virtual_time(async {
        let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
        let it = AsRows::open(&sql, &world).await;
        it.merge((0..3_000).map(|n| change(&format!("t{n}"), 1, 1_000)).collect()).await.unwrap();
        it.settle(it.due(START.plus(1_000), 3_000).await.unwrap(), START).await.unwrap();
        let mine = |title: &str| Key { account: "other".parse().unwrap(), ..key(title) };
        let before = sql.steps_of_scans.get();
        it.merge(vec![Change { key: mine("a"), ..change("a", 1, 0) }]).await.unwrap();
        it.read(&"other".parse().unwrap(), &"ada".parse().unwrap()).await.unwrap();
        it.next_due().await.unwrap();
        it.claim(START, START).await.unwrap();
        it.settle(due(&it, 0).await, START).await.unwrap();
        let answer = vec![(mine("a"), register(2))];
        it.learn(Learnt { asked: vec![mine("a"), mine("b")], answer, requested_at: START.plus(1) }).await.unwrap();
        it.release(START, 0).await.unwrap();
        let steps = sql.steps_of_scans.get() - before;
        assert!(steps < 50, "{steps} rows were walked over");
    });
}

/// A database that a newer version has used, whose kinds this one does not know.
#[test]
fn rows_that_cannot_be_read_stand_before_nothing() {
    in_virtual_time(async {
        let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
        let it = AsRows::open(&sql, &world).await;
        it.merge((0..20).map(|n| change(&format!("t{n}"), 1, n)).collect()).await.unwrap();
        use playhead_edge::host::Sql;
        let rename = "UPDATE held SET kind = 77 WHERE name != 't19'";
        sql.run(rename, vec![]).await.unwrap();
        assert!(it.due(START.plus(20), 10).await.unwrap().is_empty());
        assert!(it.due(START.plus(20), 10).await.unwrap().len() == 1);
        assert_eq!(it.next_due().await.unwrap(), Some(START.plus(19)));
        let kept = sql.run("SELECT 1 FROM held WHERE kind = 77 AND due IS NOT NULL", vec![]).await.unwrap();
        assert_eq!(kept.len(), 19);
    });
}

/// What a Durable Object pays for: rows, the alarm aside.
#[test]
fn a_journal_writes_few_rows_a_heartbeat() {
    in_virtual_time(async {
        let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
        let it = AsJournal::open(&sql, &world).await;
        let before = sql.rows_written.get();
        let seconds = 60;
        for n in 0..200 * seconds {
            let it_merges = it.merge(vec![change(&format!("t{}", n % 6_000), 1_000 + n, n * 5 + 30_000)]);
            let wait = world.sleep(5);
            // Requests come every 5 ms, whether the one before was answered or not.
            tokio::pin!(it_merges);
            futures_util::future::select(&mut it_merges, std::pin::pin!(wait)).await;
            if n % 50 == 49 {
                let now = Millis(world.now().0);
                if it.claim(now, now.plus(1)).await.unwrap().is_some() {
                    it.settle(it.due(now, 500).await.unwrap(), now).await.unwrap();
                    it.release(now, 0).await.unwrap();
                }
            }
        }
        let rows = (sql.rows_written.get() - before) as f64 / (200 * seconds) as f64;
        assert!(rows <= 0.2, "{rows} rows a heartbeat");
    });
}

/// Hours without an origin leave a journal of what is pending, not of what was said.
#[test]
fn a_journal_stays_compact_while_the_origin_is_away() {
    in_virtual_time(async {
        let (sql, world) = (Sqlite::new(), World::new(Origin::new()));
        let it = AsJournal::open(&sql, &world).await;
        for n in 0..3_000u64 {
            // One of ten titles is never spoken of again.
            let title = if n % 10 == 0 { format!("t{n}") } else { format!("s{}", n % 9) };
            it.merge(vec![change(&title, n, 0)]).await.unwrap();
            if n % 20 == 0 {
                it.release(START, 1).await.unwrap();
            }
        }
        it.release(START, 1).await.unwrap();
        it.release(START, 1).await.unwrap();
        use playhead_edge::host::{Sql, Value};
        let rows = sql.run("SELECT count(*), sum(length(body)) FROM journal", vec![]).await.unwrap();
        let [Value::Integer(count), Value::Integer(bytes)] = rows[0][..] else { panic!("{rows:?}") };
        let pending = held(&it).await.len() as i64;
        assert!(pending >= 309 && bytes < pending * 400, "{count} rows of {bytes} bytes for {pending} registers");
        let it = AsJournal::open(&sql, &world).await;
        assert_eq!(held(&it).await.len() as i64, pending);
    });
}
