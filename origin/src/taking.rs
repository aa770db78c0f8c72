//! What a [`Taking`] means for one account: what comes in a batch applied to its table of leases, and the signals
//! that follow. Pure, so that every backend does the same in the same order.

use std::collections::{BTreeMap, BTreeSet};

use playhead_shared::id::{AccountId, SessionId};
use playhead_shared::register::{EndReason, Entry, Fact};
use playhead_shared::wire::{Lease, Outcome, Verdict};

use crate::signal::Signal;
use crate::store::{Decision, Taken, Taking};
use crate::streams::{Held, Moment, Standing, Table};

/// What one account has in a [`Taking`].
#[derive(Clone, Debug, Default)]
pub struct Concerned {
    /// Its facts.
    pub entries: Vec<Entry>,
    /// Its leases, but for the admission's.
    pub leases: Vec<Lease>,
    /// A session that asks for a stream.
    pub admission: Option<Lease>,
}

impl Concerned {
    /// Splits a taking by account.
    pub fn by_account(taking: Taking) -> BTreeMap<AccountId, Self> {
        let mut concerned: BTreeMap<AccountId, Self> = BTreeMap::new();
        for entry in taking.entries {
            concerned.entry(entry.account.clone()).or_default().entries.push(entry);
        }
        for lease in taking.leases {
            concerned.entry(lease.account.clone()).or_default().leases.push(lease);
        }
        if let Some(lease) = taking.admission {
            let account = lease.account.clone();
            concerned.entry(account).or_default().admission = Some(lease);
        }
        concerned
    }

    /// Whether nothing came: the account is only looked at.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.leases.is_empty() && self.admission.is_none()
    }

    /// The sessions that want to hold a stream.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.leases.iter().chain(&self.admission).map(|lease| lease.session)
    }

    /// The sessions whose `ended` registers are among its facts.
    pub fn ended(&self) -> impl Iterator<Item = SessionId> {
        self.entries.iter().filter_map(|entry| match entry.fact {
            Fact::Ended(session) => Some(session),
            _ => None,
        })
    }

    /// Applies what came to the account's table, `ended` being the sessions that have an `ended` register. Returns
    /// what it came to, and the signals that follow from the streams; those of the facts are the backend's.
    pub fn apply(
        &self,
        account: &AccountId,
        table: &mut Table,
        ended: &BTreeSet<SessionId>,
        moment: &Moment<'_>,
    ) -> (Taken, Vec<Signal>) {
        let mut taken = Taken::default();
        let mut signals = expired(&table.settle(moment), moment);
        for session in ended {
            table.end(*session, moment);
        }
        let limit_reached = |lease: &Lease| Signal::LimitReached { lease: lease.clone(), at: moment.now };
        for (session, standing) in table.renew(&self.leases, |session| ended.contains(&session), moment) {
            if let Standing::Without(reason, by) = standing {
                if reason == EndReason::OverLimit {
                    signals.extend(self.leases.iter().find(|lease| lease.session == session).map(limit_reached));
                }
                taken.verdicts.push(Verdict { account: account.clone(), session, reason, by });
            }
        }
        if let Some(lease) = &self.admission {
            let renewed = table.holds(lease.session, moment);
            let ended = ended.contains(&lease.session);
            let outcome = table.admit(lease, ended, moment);
            if outcome == Outcome::Refused && !ended {
                signals.push(limit_reached(lease));
            }
            taken.admission = Some(Decision { outcome, renewed, streams: table.streams(moment) });
        }
        (taken, signals)
    }
}

/// The signals of leases that expired just now. Of an incognito one nothing is told.
pub fn expired(expired: &[Held], moment: &Moment<'_>) -> Vec<Signal> {
    let signal = |held: &Held| {
        let at = held.ended.as_ref().map_or(moment.now, |ending| ending.at);
        Signal::Expired { lease: held.lease.clone(), since: held.since, at }
    };
    expired.iter().filter(|held| !held.lease.incognito).map(signal).collect()
}

impl Taken {
    /// Adds what another account's part came to.
    pub fn add(&mut self, other: Self) {
        self.verdicts.extend(other.verdicts);
        self.admission = self.admission.take().or(other.admission);
    }
}
