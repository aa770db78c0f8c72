//! Who holds a stream, played in virtual time: one account, its devices, and the origin's clock.

use playhead_origin::streams::{Change, End, Held, Moment, Standing, Table};
use playhead_shared::id::SessionId;
use playhead_shared::register::EndReason;
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::wire::{Lease, Outcome};

const T0: u64 = 1_800_000_000_000;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const NONE: [u64; 0] = [];

/// One account as a backend keeps it: loaded, changed and kept for every step.
struct Account {
    kept: Vec<Held>,
    ended: Vec<u64>,
    expired: Vec<(u64, End)>,
    continuous_since: u64,
    limit: u32,
    rules: Rules,
    now: u64,
}

/// Session `n`: born at second `n`, on device `n` unless said otherwise.
fn session(n: u64) -> SessionId {
    SessionId::of_birth(Millis(T0 + n * SECOND), n)
}

fn number(id: SessionId) -> u64 {
    (id.birth().0 - T0) / SECOND
}

impl Account {
    fn new(limit: u32) -> Self {
        let (kept, ended, expired) = Default::default();
        Self { kept, ended, expired, continuous_since: 0, limit, rules: Rules::default(), now: T0 }
    }

    fn at(&mut self, ms: u64) -> &mut Self {
        self.now = T0 + ms;
        self
    }

    fn lease(&self, n: u64) -> Lease {
        Lease {
            account: "acme".parse().unwrap(),
            session: session(n),
            profile: "ada".parse().unwrap(),
            device: format!("device-{n}").parse().unwrap(),
            title: "film".parse().unwrap(),
            observed_at: Millis(self.now),
            stopped: false,
            playing: true,
            limit: self.limit,
            incognito: false,
            age_ms: 0,
            still_ms: 0,
        }
    }

    fn step<T>(&mut self, work: impl FnOnce(&mut Table, &Moment<'_>, &[u64]) -> T) -> T {
        let moment =
            Moment { now: Millis(self.now), continuous_since: Millis(self.continuous_since), rules: &self.rules };
        let mut table = Table::new(self.kept.clone());
        for held in table.settle(&moment) {
            self.expired.push((number(held.lease.session), held.ended.unwrap().how));
        }
        let result = work(&mut table, &moment, &self.ended);
        for change in table.changes() {
            let (held, removed) = match change {
                Change::Put(held, _) => (held, false),
                Change::Remove(held) => (held, true),
            };
            self.kept.retain(|kept| kept.lease.session != held.lease.session);
            if !removed {
                self.kept.push(held.clone());
            }
        }
        result
    }

    fn renew(&mut self, leases: &[Lease]) -> Vec<(u64, Standing)> {
        let renewed =
            self.step(|table, moment, ended| table.renew(leases, |session| ended.contains(&number(session)), moment));
        renewed.into_iter().map(|(session, standing)| (number(session), standing)).collect()
    }

    /// A heartbeat of session `n`, observed now. Returns the word it is told, if it holds no stream.
    fn beat(&mut self, n: u64) -> Option<&'static str> {
        let lease = self.lease(n);
        self.send(lease)
    }

    fn send(&mut self, lease: Lease) -> Option<&'static str> {
        match self.renew(&[lease]).remove(0).1 {
            Standing::Fine => None,
            Standing::Ended => Some("ended"),
            Standing::Without(reason, _) => Some(reason.word()),
        }
    }

    fn stop(&mut self, n: u64) {
        let lease = Lease { stopped: true, ..self.lease(n) };
        assert_eq!(self.send(lease), None);
    }

    fn admit(&mut self, n: u64) -> Outcome {
        let lease = self.lease(n);
        self.ask(lease)
    }

    fn ask(&mut self, lease: Lease) -> Outcome {
        self.step(|table, moment, ended| table.admit(&lease, ended.contains(&number(lease.session)), moment))
    }

    fn end(&mut self, n: u64) {
        self.ended.push(n);
        self.step(|table, moment, _| table.end(session(n), moment));
    }

    fn live(&mut self) -> Vec<u64> {
        let streams = self.step(|table, moment, _| table.streams(moment));
        streams.into_iter().map(|stream| number(stream.session)).collect()
    }
}

#[test]
fn a_crashed_devices_stream_is_gone_after_a_lease() {
    let mut account = Account::new(1);
    assert_eq!(account.admit(1), Outcome::Admitted);
    assert_eq!(account.at(89_999).admit(2), Outcome::Refused);
    assert_eq!(account.live(), [1]);
    assert_eq!(account.at(90_000).live(), NONE);
    assert_eq!(account.expired, [(1, End::Expired)]);
    assert_eq!(account.admit(2), Outcome::Admitted);
    account.at(100_000).live();
    assert_eq!(account.expired.len(), 1, "it expires once");
}

#[test]
fn a_stop_makes_room_at_once() {
    let mut account = Account::new(1);
    account.admit(1);
    account.at(5_000).stop(1);
    assert_eq!(account.live(), NONE);
    assert_eq!(account.admit(2), Outcome::Admitted);
    assert!(account.expired.is_empty());
}

#[test]
fn a_stop_and_a_newcomer_in_one_batch_fit() {
    let mut account = Account::new(1);
    account.admit(1);
    account.at(5_000);
    let leases = [account.lease(2), Lease { stopped: true, ..account.lease(1) }];
    assert!(account.renew(&leases).iter().all(|(_, standing)| *standing == Standing::Fine));
    assert_eq!(account.live(), [2]);
}

#[test]
fn a_paused_stream_lives_while_it_beats_until_it_is_still_for_too_long() {
    let mut account = Account::new(1);
    account.admit(1);
    let paused = |account: &Account, still_ms| Lease { playing: false, still_ms, ..account.lease(1) };
    for at in (30..1800).step_by(30) {
        let lease = paused(account.at(at * SECOND), at * SECOND);
        assert_eq!(account.send(lease), None);
        assert_eq!(account.live(), [1], "after {at} s");
    }
    assert_eq!(account.at(30 * MINUTE).live(), NONE);
    assert_eq!(account.expired, [(1, End::Still)]);
    let lease = paused(account.at(30 * MINUTE + 1), 30 * MINUTE + 1);
    assert_eq!(account.send(lease), None);
    assert_eq!(account.live(), NONE, "a beat that has not moved revives nothing");
    assert_eq!(account.at(31 * MINUTE).beat(1), None);
    assert_eq!(account.live(), [1], "one that has moved does");
}

#[test]
fn late_and_repeated_beats_do_not_revive_a_stopped_stream() {
    let mut account = Account::new(1);
    account.admit(1);
    let late = account.at(3_000).lease(1);
    account.at(5_000).stop(1);
    let stopped = Lease { stopped: true, ..account.lease(1) };
    account.at(6_000);
    assert_eq!(account.send(Lease { age_ms: 3_000, ..late }), None);
    assert_eq!(account.send(stopped), None);
    assert_eq!(account.live(), NONE);
    assert_eq!(account.at(7_000).beat(1), None);
    assert_eq!(account.live(), [1], "a newer one does");
}

#[test]
fn a_stop_that_overtakes_its_beats_is_remembered_for_ten_minutes() {
    let mut account = Account::new(1);
    let late = account.lease(1);
    account.at(1_000).stop(1);
    for (at, live) in [(2_000, vec![]), (10 * MINUTE, vec![]), (11 * MINUTE, vec![1])] {
        account.at(at);
        // Its age tells that it is over, too; a device whose clock was off hides that.
        account.send(Lease { age_ms: 0, ..late.clone() });
        assert_eq!(account.live(), live, "at {at}");
    }
}

#[test]
fn age_shortens_a_lease_and_a_late_upload_takes_none() {
    let mut account = Account::new(2);
    account.at(60_000);
    account.send(Lease { age_ms: 60_000, ..account.lease(1) });
    account.send(Lease { age_ms: 90_000, ..account.lease(2) });
    assert_eq!(account.live(), [1]);
    assert_eq!(account.at(90_000).live(), NONE);
    // An older forwarding of a newer beat does not cut short what an earlier one promised.
    account.at(100_000).beat(3);
    account.at(101_000);
    account.send(Lease { age_ms: 60_000, ..account.lease(3) });
    assert_eq!(account.at(189_999).live(), [3]);
}

#[test]
fn of_a_devices_sessions_the_youngest_holds_the_stream() {
    let mut account = Account::new(1);
    let on_tv = |lease: Lease| Lease { device: "tv".parse().unwrap(), ..lease };
    let first = on_tv(account.lease(1));
    assert_eq!(account.ask(first), Outcome::Admitted);
    let second = on_tv(account.at(5_000).lease(2));
    assert_eq!(account.ask(second), Outcome::Admitted, "it takes the place of its device's older one");
    assert_eq!(account.live(), [2]);
    let older = on_tv(account.at(6_000).lease(1));
    assert_eq!(account.send(older.clone()), Some("replaced"));
    assert_eq!(account.send(older.clone()), Some("replaced"), "as often as it asks");
    assert_eq!(account.live(), [2]);
    let stop = Lease { stopped: true, ..on_tv(account.at(7_000).lease(2)) };
    account.send(stop);
    assert_eq!(account.send(older), Some("replaced"), "a repetition is no news");
    let newer = on_tv(account.at(8_000).lease(1));
    assert_eq!(account.send(newer), None);
    assert_eq!(account.live(), [1], "the younger one is over");
}

#[test]
fn at_the_limit_a_newcomer_of_a_batch_is_told_and_displaces_nobody() {
    let mut account = Account::new(2);
    account.admit(1);
    account.admit(2);
    account.at(30_000);
    let leases = [account.lease(3), account.lease(2), account.lease(1)];
    let over = Standing::Without(EndReason::OverLimit, "device-2".parse().unwrap());
    let standings = account.renew(&leases);
    assert_eq!(standings, [(1, Standing::Fine), (2, Standing::Fine), (3, over)]);
    assert_eq!(account.live(), [1, 2]);
    // The oldest birth does not matter against who holds.
    let mut account = Account::new(1);
    account.admit(5);
    assert_eq!(account.at(6_000).beat(1), Some("over_limit"));
    assert_eq!(account.live(), [5]);
    account.at(7_000).stop(5);
    assert_eq!(account.at(8_000).beat(1), None, "it may try again");
}

#[test]
fn a_token_with_a_lower_limit_displaces_nobody() {
    let mut account = Account::new(3);
    for n in 1..=3 {
        account.admit(n);
    }
    account.limit = 1;
    for n in 1..=3 {
        assert_eq!(account.at(30_000).beat(n), None);
    }
    assert_eq!(account.at(31_000).admit(4), Outcome::Refused);
    account.stop(1);
    account.stop(2);
    assert_eq!(account.admit(4), Outcome::Refused);
    account.stop(3);
    assert_eq!(account.admit(4), Outcome::Admitted);
    account.limit = 0;
    assert_eq!(account.at(32_000).admit(5), Outcome::Refused);
}

#[test]
fn an_evicted_session_makes_room_and_never_streams_again() {
    let mut account = Account::new(1);
    account.admit(1);
    assert_eq!(account.admit(2), Outcome::Refused);
    account.at(1_000).end(1);
    assert_eq!(account.admit(2), Outcome::Admitted);
    assert_eq!(account.at(2_000).beat(1), Some("ended"));
    account.at(3_000).stop(2);
    assert_eq!(account.at(4_000).beat(1), Some("ended"), "though there is room");
    assert_eq!(account.admit(1), Outcome::Refused);
    assert_eq!(account.at(30 * MINUTE).beat(1), Some("ended"), "though nothing is remembered but the register");
    assert_eq!(account.live(), NONE);
}

#[test]
fn asking_twice_is_asking_once() {
    let mut account = Account::new(1);
    assert_eq!(account.admit(1), Outcome::Admitted);
    assert_eq!(account.admit(1), Outcome::Admitted);
    assert_eq!(account.at(1_000).admit(1), Outcome::Admitted);
    assert_eq!(account.live(), [1]);
    assert_eq!(account.admit(2), Outcome::Refused);
    assert_eq!(account.admit(2), Outcome::Refused);
}

#[test]
fn after_a_gap_nothing_expires_and_nobody_is_refused_for_one_lease() {
    let mut account = Account::new(1);
    account.admit(1);
    let away = 10 * MINUTE;
    account.continuous_since = T0 + away;
    account.at(away);
    assert_eq!(account.live(), [1], "nobody could renew it");
    assert_eq!(account.admit(2), Outcome::Unverified);
    assert_eq!(account.live(), [1, 2]);
    assert_eq!(account.at(away + 20_000).beat(1), None, "it was there all the time");
    assert_eq!(account.live(), [1], "so the one that was let in finds no room");
    assert_eq!(account.beat(2), Some("over_limit"));
    assert_eq!(account.at(away + 89_999).admit(3), Outcome::Unverified);
    assert_eq!(account.at(away + 90_000).admit(4), Outcome::Refused);
    assert_eq!(account.beat(1), None);
    assert_eq!(account.live(), [1]);
}

#[test]
fn what_did_not_come_back_from_a_gap_expires_after_it() {
    let mut account = Account::new(1);
    account.admit(1);
    let away = 10 * MINUTE;
    account.continuous_since = T0 + away;
    assert_eq!(account.at(away + 1_000).beat(2), None, "what only the gap has kept keeps nobody out");
    assert_eq!(account.at(away + 60_000).beat(2), None);
    assert_eq!(account.live(), [1, 2]);
    assert_eq!(account.at(away + 90_000).live(), [2]);
    assert_eq!(account.expired, [(1, End::Expired)]);
}

#[test]
fn of_those_first_seen_after_a_gap_the_oldest_births_hold() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
        let mut account = Account::new(2);
        let away = 10 * MINUTE;
        account.continuous_since = T0 + away;
        for (second, n) in (0..).zip(order) {
            account.at(away + second * SECOND).beat(n);
        }
        assert_eq!(account.live(), [1, 2], "{order:?}");
        let told: Vec<_> = [1, 2, 3].map(|n| account.at(away + 30_000 + n).beat(n)).to_vec();
        assert_eq!(told, [None, None, Some("over_limit")], "{order:?}");
    }
}

#[test]
fn let_in_unverified_at_the_end_of_a_gap_is_settled_after_it() {
    let mut account = Account::new(1);
    let away = 10 * MINUTE;
    account.continuous_since = T0 + away;
    account.at(away + 80_000);
    assert_eq!(account.admit(2), Outcome::Unverified);
    assert_eq!(account.admit(1), Outcome::Unverified);
    assert_eq!(account.live(), [1, 2]);
    account.at(away + 100_000);
    assert_eq!(account.beat(2), Some("over_limit"));
    assert_eq!(account.beat(1), None);
    assert_eq!(account.live(), [1]);
}

#[test]
fn what_ended_is_forgotten_after_ten_minutes() {
    let mut account = Account::new(1);
    account.admit(1);
    account.at(1_000).stop(1);
    account.at(10 * MINUTE + 999).live();
    assert_eq!(account.kept.len(), 1);
    account.at(10 * MINUTE + 1_000).live();
    assert!(account.kept.is_empty());
}
