//! Which sessions of an account hold a stream: a table of leases in, decisions and changed leases out.
//!
//! Pure, by the origin's clock alone, so that every backend decides alike and tests run in virtual time. A
//! [`Table`] is one account's; a backend loads it, applies what came, and keeps what changed, atomically.

use minicbor::{Decode, Encode};
use playhead_shared::id::{DeviceId, SessionId};
use playhead_shared::register::EndReason;
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::wire::{Lease, Outcome, Stream};

/// Without a sign of collect for longer than this, the leases are not trusted to be complete.
pub const GAP_MS: u64 = 10_000;

/// Why a lease holds no stream any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum End {
    /// Its own device stopped it.
    #[n(0)]
    Stopped,
    /// An `ended` register: for good.
    #[n(1)]
    Ended,
    /// Nothing renewed it.
    #[n(2)]
    Expired,
    /// Its position has not moved for too long.
    #[n(3)]
    Still,
    /// The same device opened a younger session.
    #[n(4)]
    Replaced,
    /// It was let in unverified, and there was no room.
    #[n(5)]
    OverLimit,
}

/// What is remembered of one session's stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Held {
    /// The newest lease.
    #[n(0)]
    pub lease: Lease,
    /// When it took its stream, by the origin's clock.
    #[n(1)]
    pub since: Millis,
    /// When the lease runs out.
    #[n(2)]
    pub until: Millis,
    /// When it is over unless its position moves.
    #[n(3)]
    pub still_until: Millis,
    /// How and when it ended.
    #[n(4)]
    pub ended: Option<Ending>,
}

/// How and when a lease ended, by the origin's clock.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ending {
    /// How.
    #[n(0)]
    pub how: End,
    /// When.
    #[n(1)]
    pub at: Millis,
}

/// The moment in which a table is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'r> {
    /// The origin's clock.
    pub now: Millis,
    /// Since when collect has been there without a gap; 1970 where it always was. See [`Moment::verified`].
    pub continuous_since: Millis,
    /// The thresholds.
    pub rules: &'r Rules,
}

impl Moment<'_> {
    /// Whether the leases can be trusted to be all there are. For one lease's length after a gap they cannot:
    /// nobody could renew during it, so nothing expires and nobody is refused.
    pub fn verified(&self) -> bool {
        self.now >= self.verified_from()
    }

    fn verified_from(&self) -> Millis {
        match self.continuous_since {
            Millis(0) => Millis(0),
            since => since.plus(self.rules.lease_ms),
        }
    }

    /// Whether a stream that was taken then was first seen while nothing was verified.
    fn unverified_since(&self, since: Millis) -> bool {
        since >= self.continuous_since && since < self.verified_from()
    }
}

impl Held {
    /// When it ends by itself, as things stand.
    pub fn ends_at(&self, moment: &Moment<'_>) -> Millis {
        self.until.min(self.still_until).max(moment.verified_from())
    }

    /// Whether it holds a stream.
    pub fn live(&self, moment: &Moment<'_>) -> bool {
        self.ended.is_none() && moment.now < self.ends_at(moment)
    }

    /// When a sweep has something to do with it: end it, or drop the memory of its end.
    pub fn due_at(&self, moment: &Moment<'_>) -> Millis {
        match &self.ended {
            Some(ending) => ending.at.plus(moment.rules.ended_lease_ms),
            None => self.ends_at(moment),
        }
    }
}

/// One account's leases, and what of them changed since they were loaded.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    held: Held,
    changed: bool,
    /// A sweep has to be planned for it: it is new, or took a stream anew.
    planned: bool,
    gone: bool,
}

/// What a lease of a batch, or an admission, came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds a stream, or needs none: it was stopped or has run out.
    Fine,
    /// It holds none because it ended by register, which the edge learns from the register.
    Ended,
    /// It holds none; with the device that holds the stream instead.
    Without(EndReason, DeviceId),
}

/// A change of a table that a backend has to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'t> {
    /// Write it. If the flag is set, plan a sweep at its [`Held::due_at`].
    Put(&'t Held, bool),
    /// Drop it.
    Remove(&'t Held),
}

impl Table {
    /// A table of what a backend remembers of one account.
    pub fn new(held: impl IntoIterator<Item = Held>) -> Self {
        let row = |held| Row { held, changed: false, planned: true, gone: false };
        Self { rows: held.into_iter().map(row).collect() }
    }

    /// Ends what has run out and drops what was remembered long enough. Returns what expired just now.
    pub fn settle(&mut self, moment: &Moment<'_>) -> Vec<Held> {
        let mut expired = Vec::new();
        for row in &mut self.rows {
            if row.held.ended.is_none() && !row.held.live(moment) {
                let how = if row.held.still_until < row.held.until { End::Still } else { End::Expired };
                row.end(how, row.held.ends_at(moment));
                expired.push(row.held.clone());
            }
            if row.held.ended.is_some() && moment.now >= row.held.due_at(moment) {
                row.gone = true;
            }
        }
        expired
    }

    /// Ends a session's stream by its `ended` register.
    pub fn end(&mut self, session: SessionId, moment: &Moment<'_>) {
        if let Some(row) = self.row(session)
            && row.held.ended.as_ref().is_none_or(|ending| ending.how != End::Ended)
        {
            row.end(End::Ended, moment.now);
        }
    }

    /// Takes the leases of one batch: who holds a stream first, since a stop among them makes room; then newcomers
    /// by birth. `ended` says whether a session has an `ended` register.
    pub fn renew(
        &mut self,
        leases: &[Lease],
        ended: impl Fn(SessionId) -> bool,
        moment: &Moment<'_>,
    ) -> Vec<(SessionId, Standing)> {
        let mut order: Vec<&Lease> = leases.iter().collect();
        order.sort_by_key(|lease| (!self.holds(lease.session, moment), lease.session));
        let mut applied = Vec::with_capacity(order.len());
        for lease in order {
            if ended(lease.session) {
                self.end(lease.session, moment);
                applied.push((lease, Applied::Ended));
            } else {
                applied.push((lease, self.apply(lease, moment)));
            }
        }
        if let Some(newest) = leases.iter().max_by_key(|lease| lease.observed_at) {
            self.displace(newest.limit, moment);
        }
        applied.iter().map(|(lease, applied)| (lease.session, self.standing(lease, *applied, moment))).collect()
    }

    /// Decides on an admission, after the batch that came with it. A session that ended by register is refused.
    pub fn admit(&mut self, lease: &Lease, ended: bool, moment: &Moment<'_>) -> Outcome {
        if ended {
            self.end(lease.session, moment);
            return Outcome::Refused;
        }
        let no_room = self.apply(lease, moment) == Applied::NoRoom;
        match moment.verified() {
            true if no_room => Outcome::Refused,
            true => Outcome::Admitted,
            false => {
                if no_room {
                    self.take(lease, moment);
                }
                Outcome::Unverified
            }
        }
    }

    /// The account's live streams, oldest birth first.
    pub fn streams(&self, moment: &Moment<'_>) -> Vec<Stream> {
        let mut live: Vec<Stream> = self.live(moment).map(|held| held.lease.stream()).collect();
        live.sort_by_key(|stream| stream.session);
        live
    }

    /// What is remembered of a session.
    pub fn get(&self, session: SessionId) -> Option<&Held> {
        self.rows.iter().find(|row| row.held.lease.session == session && !row.gone).map(|row| &row.held)
    }

    /// All that is remembered, once what changed is written.
    pub fn remembered(&self) -> impl Iterator<Item = &Held> {
        self.rows.iter().filter(|row| !row.gone).map(|row| &row.held)
    }

    /// What a backend has to write.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        self.rows.iter().filter_map(|row| match row {
            Row { gone: true, held, .. } => Some(Change::Remove(held)),
            Row { changed: true, held, planned, .. } => Some(Change::Put(held, !planned)),
            _ => None,
        })
    }

    /// Applies one lease, if it is newer than what is known of its session.
    fn apply(&mut self, lease: &Lease, moment: &Moment<'_>) -> Applied {
        let known = self.get(lease.session);
        if known.is_some_and(|held| lease.observed_at <= held.lease.observed_at) {
            return Applied::AsKnown;
        }
        if known.is_some_and(|held| held.is(End::Ended)) {
            return Applied::Ended;
        }
        let (remembered, holds) = (known.is_some(), known.is_some_and(|held| held.live(moment)));
        if lease.stopped {
            self.put(lease, Some(End::Stopped), moment);
        } else if moment.still_until(lease) <= moment.now {
            self.fade(lease, remembered, End::Still, moment);
        } else if self.younger(lease, moment) {
            self.fade(lease, remembered, End::Replaced, moment);
            return Applied::Replaced;
        } else if holds || moment.until(lease) <= moment.now || self.room(lease, moment) {
            self.take(lease, moment);
        } else {
            return Applied::NoRoom;
        }
        Applied::AsKnown
    }

    /// Gives or renews the stream; the older sessions of the same device lose theirs.
    fn take(&mut self, lease: &Lease, moment: &Moment<'_>) {
        let holds = self.holds(lease.session, moment);
        if !holds && moment.until(lease) <= moment.now {
            return; // It was over before it came: a late upload.
        }
        self.put(lease, None, moment);
        for row in &mut self.rows {
            let held = &row.held;
            let older = held.lease.device == lease.device && held.lease.session < lease.session;
            if older && held.live(moment) {
                row.end(End::Replaced, moment.now);
            }
        }
    }

    /// A session whose newest lease gives it no stream. Where none is remembered, none needs to be.
    fn fade(&mut self, lease: &Lease, remembered: bool, how: End, moment: &Moment<'_>) {
        if remembered {
            self.put(lease, Some(how), moment);
        }
    }

    fn put(&mut self, lease: &Lease, how: Option<End>, moment: &Moment<'_>) {
        let (now, until, still_until) = (moment.now, moment.until(lease), moment.still_until(lease));
        let ended = how.map(|how| Ending { how, at: now });
        let fresh = Held { lease: lease.clone(), since: now, until, still_until, ended };
        match self.rows.iter_mut().find(|row| row.held.lease.session == lease.session) {
            Some(row) => {
                let renewed = row.held.live(moment);
                let since = if renewed { row.held.since } else { now };
                // A lease that the edge forwarded late must not cut short what an earlier one promised.
                let until = if renewed { until.max(row.held.until) } else { until };
                let planned = row.planned && renewed && !row.gone;
                *row = Row { held: Held { since, until, ..fresh }, changed: true, planned, gone: false };
            }
            None => self.rows.push(Row { held: fresh, changed: true, planned: false, gone: false }),
        }
    }

    /// Whether a session of the same device that was born later holds a stream.
    fn younger(&self, lease: &Lease, moment: &Moment<'_>) -> bool {
        self.live(moment).any(|held| held.lease.device == lease.device && held.lease.session > lease.session)
    }

    /// Whether a newcomer finds room: it does not compete with the sessions of its own device, which it replaces.
    ///
    /// While nothing is verified, a stream that only the gap has kept does not keep anyone out; should it
    /// turn out to be alive, it comes first again ([`Table::displace`]).
    fn room(&self, lease: &Lease, moment: &Moment<'_>) -> bool {
        let other = |held: &&Held| held.lease.session != lease.session && held.lease.device != lease.device;
        let yields = |held: &Held| {
            !moment.verified() && moment.unverified_since(held.since) && held.lease.session > lease.session
        };
        let taken = self.live(moment).filter(other).filter(|held| held.renewed(moment) && !yields(held)).count();
        taken < lease.limit as usize
    }

    /// Of the sessions first seen while nothing was verified, those that find no room lose their streams, the
    /// youngest first. Nobody else is ever displaced.
    fn displace(&mut self, limit: u32, moment: &Moment<'_>) {
        let (contended, settled): (Vec<_>, Vec<_>) = (self.live(moment))
            .filter(|held| held.renewed(moment))
            .partition(|held| moment.unverified_since(held.since));
        let room = (limit as usize).saturating_sub(settled.len());
        let mut births: Vec<SessionId> = contended.iter().map(|held| held.lease.session).collect();
        births.sort_unstable();
        for session in births.into_iter().skip(room) {
            if let Some(row) = self.row(session) {
                row.end(End::OverLimit, moment.now);
            }
        }
    }

    /// What a device is to be told of the lease that it sent.
    fn standing(&self, lease: &Lease, applied: Applied, moment: &Moment<'_>) -> Standing {
        let known = self.get(lease.session).and_then(|held| held.ended.as_ref()).map(|ending| ending.how);
        match (applied, known) {
            (Applied::Ended, _) | (_, Some(End::Ended)) => Standing::Ended,
            (Applied::Replaced, _) => Standing::Without(EndReason::Replaced, lease.device.clone()),
            (Applied::NoRoom, _) | (_, Some(End::OverLimit)) => {
                // The youngest of the others: who took the last place.
                let by = self.live(moment).max_by_key(|held| held.lease.session).map(|held| &held.lease.device);
                Standing::Without(EndReason::OverLimit, by.unwrap_or(&lease.device).clone())
            }
            (_, Some(End::Replaced)) => Standing::Without(EndReason::Replaced, lease.device.clone()),
            _ => Standing::Fine,
        }
    }

    /// Whether a session holds a stream.
    pub fn holds(&self, session: SessionId, moment: &Moment<'_>) -> bool {
        self.get(session).is_some_and(|held| held.live(moment))
    }

    fn live<'t>(&'t self, moment: &Moment<'_>) -> impl Iterator<Item = &'t Held> {
        self.rows.iter().filter(move |row| !row.gone && row.held.live(moment)).map(|row| &row.held)
    }

    fn row(&mut self, session: SessionId) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.held.lease.session == session && !row.gone)
    }
}

/// What applying a lease came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Applied {
    /// The table says it all.
    AsKnown,
    /// The session ended by register.
    Ended,
    /// A younger session of its device holds the stream.
    Replaced,
    /// The account is at its limit.
    NoRoom,
}

impl Held {
    fn is(&self, how: End) -> bool {
        self.ended.as_ref().is_some_and(|ending| ending.how == how)
    }

    /// Whether its lease runs, and not only a gap has kept it.
    fn renewed(&self, moment: &Moment<'_>) -> bool {
        moment.now < self.until.min(self.still_until)
    }
}

impl Row {
    fn end(&mut self, how: End, at: Millis) {
        self.held.ended = Some(Ending { how, at });
        self.changed = true;
    }
}

impl Moment<'_> {
    fn until(&self, lease: &Lease) -> Millis {
        self.now.plus(self.rules.lease_ms).minus(lease.age_ms)
    }

    fn still_until(&self, lease: &Lease) -> Millis {
        self.now.plus(self.rules.still_ms).minus(lease.still_ms.saturating_add(lease.age_ms))
    }
}
