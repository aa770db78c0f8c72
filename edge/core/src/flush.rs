//! Flushing: what is due goes to the origin in one batch, and is settled only if it is still what was sent.

use std::rc::Rc;

use playhead_shared::id::AccountId;
use playhead_shared::register::Register;
use playhead_shared::time::Millis;
use playhead_shared::wire::{Batch, BatchAnswer, Verdict};

use crate::edge::Edge;
use crate::held::{Change, Held, HeldError, HeldLease, HeldVerdict, Item, Key, Learnt};
use crate::host::Host;
use crate::origin::{post_batch, readable};

/// What changes something for other devices is due at the origin so soon …
pub(crate) const SOON_MS: u64 = 500;
/// … a lease so soon: well before it runs out …
pub(crate) const LEASE_MS: u64 = 15_000;
/// … and mere progress so soon.
pub(crate) const PROGRESS_MS: u64 = 30_000;
/// Two flushes of one edge are at least so far apart, so that a batch is worth its request.
const FLUSH_GAP_MS: u64 = 250;
/// The most registers in one batch.
const BATCH: usize = 500;
/// The right to flush lasts so long; a holder that died is followed after it.
const CLAIM_MS: u64 = 30_000;
/// No new batch is begun this late into a claim.
const CLAIM_MARGIN_MS: u64 = 12_000;
/// The pauses between attempts while the origin is away double from the first to the last.
const FIRST_PAUSE_MS: u64 = 500;
const LAST_PAUSE_MS: u64 = 15_000;
/// A register that cannot be read, here or at the origin, is tried again so much later.
pub(crate) const PUT_ASIDE_MS: u64 = 3600 * 1000;

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Nothing that is due is pending any more.
    All,
    /// The origin did not take it: it will be tried again.
    Failed,
    /// Another flush is under way, or the time of the next attempt has not come.
    NotNow,
}

impl<H: Host, D: Held> Edge<H, D> {
    /// Sends what is due. Never fails for the caller: what could not be sent stays due.
    pub async fn flush(self: &Rc<Self>) -> Flushed {
        let flushed = match self.try_flush().await {
            Ok(flushed) => flushed,
            Err(error) => {
                self.host.log(&format!("flush: {error}"));
                Flushed::Failed
            }
        };
        self.schedule(false).await;
        flushed
    }

    /// Sees to it that the next flush will come; a shell calls it when it wakes. Where `flush_overdue` (nothing
    /// else may come to flush), what is overdue is flushed in the background at once.
    pub async fn schedule(self: &Rc<Self>, flush_overdue: bool) {
        if flush_overdue {
            // Looking is a statement, which no request needs for itself.
            let now = self.host.now();
            if now.since(self.last_looked.get()) < FLUSH_GAP_MS {
                return;
            }
            self.last_looked.set(now);
        }
        let due = match self.held.next_due().await {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => return self.host.log(&format!("cannot tell when the next flush is due: {error}")),
        };
        self.host.wake_at(due).await;
        if flush_overdue && due <= self.host.now() {
            let edge = Rc::clone(self);
            self.host.spawn(Box::pin(async move {
                edge.flush().await;
            }));
        }
    }

    async fn try_flush(&self) -> Result<Flushed, HeldError> {
        let start = self.host.now();
        let Some(failures) = self.held.claim(start, start.plus(CLAIM_MS)).await? else {
            return Ok(Flushed::NotNow);
        };
        loop {
            let now = self.host.now();
            let sent = self.held.due(now, BATCH).await?;
            let more = sent.len() == BATCH && now.since(start) < CLAIM_MS - CLAIM_MARGIN_MS;
            if !sent.is_empty()
                && let Err(error) = self.hand_in(sent).await
            {
                let pause = pause_ms(failures, self.host.random());
                self.host.log(&format!("flush: {error}; tried again in {pause} ms"));
                self.held.release(self.host.now().plus(pause), failures.saturating_add(1)).await?;
                return Ok(Flushed::Failed);
            }
            if !more {
                self.held.sweep(now).await?;
                self.held.release(self.host.now().plus(FLUSH_GAP_MS), 0).await?;
                return Ok(Flushed::All);
            }
        }
    }

    /// Posts one batch and settles it.
    async fn hand_in(&self, sent: Vec<(Key, Register)>) -> Result<(), String> {
        let asked_at = self.host.now();
        let (batch, of_register) = batch_of(&sent, self.now());
        let answer = post_batch(self, &batch).await.map_err(|error| error.to_string())?;
        let now = self.host.now();

        let mut is_unread = vec![false; sent.len()];
        for at in answer.unread.iter().filter_map(|at| of_register.get(*at as usize)) {
            is_unread[*at] = true;
        }
        let mut of_sent = is_unread.into_iter();
        let (unread, settled): (Vec<_>, Vec<_>) = sent.into_iter().partition(|_| of_sent.next() == Some(true));
        if !unread.is_empty() {
            self.host.log(&format!("the origin cannot read {} registers: put aside for an hour", unread.len()));
            self.held.put_aside(unread, now.plus(PUT_ASIDE_MS)).await.map_err(|error| error.to_string())?;
        }
        let learnt = learnt_of(&settled, answer, asked_at);
        self.held.settle(settled, now).await.map_err(|error| error.to_string())?;
        self.held.learn(learnt).await.map_err(|error| error.to_string())
    }

    /// Has the origin take changes before anyone hears that they are taken, and keeps them only to be read.
    pub(crate) async fn pass_through(&self, changes: Vec<Change>) -> Result<(), String> {
        if changes.is_empty() {
            return Ok(());
        }
        let sent: Vec<_> = changes.into_iter().map(|change| (change.key, change.register)).collect();
        let asked_at = self.host.now();
        let answer = post_batch(self, &batch_of(&sent, self.now()).0).await.map_err(|error| error.to_string())?;
        if !answer.unread.is_empty() {
            return Err("the origin cannot read what this edge writes".to_owned());
        }
        let mut learnt = learnt_of(&sent, answer, asked_at);
        learnt.answer.extend(sent);
        self.held.learn(learnt).await.map_err(|error| error.to_string())
    }
}

/// The batch of what is due, and which of `sent` each of its registers is.
fn batch_of(sent: &[(Key, Register)], now: Millis) -> (Batch, Vec<usize>) {
    let mut batch = Batch::default();
    let mut of_register = Vec::new();
    for (at, (key, register)) in sent.iter().enumerate() {
        match &key.item {
            Item::Fact(_) => {
                batch.registers.push(key.wire_entry(register));
                of_register.push(at);
            }
            Item::Lease(_) => batch.leases.extend(register.value::<HeldLease>().ok().map(|held| held.aged(now))),
            Item::Verdict(_) | Item::Asked(..) => {}
        }
    }
    (batch, of_register)
}

/// What the edge should know from an answer: facts, and which of the batch's streams are none. Those that it does not
/// name are, whatever was said of them before.
fn learnt_of(sent: &[(Key, Register)], answer: BatchAnswer, requested_at: Millis) -> Learnt {
    let verdict_of = |account: &AccountId, session| Key { account: account.clone(), item: Item::Verdict(session) };
    let asked = sent.iter().filter_map(|(key, _)| match key.item {
        Item::Lease(session) => Some(verdict_of(&key.account, session)),
        _ => None,
    });
    let stamp = answer.server_time.into();
    let verdicts = answer.verdicts.into_iter().map(|Verdict { account, session, reason, by }| {
        (verdict_of(&account, session), Register::new(stamp, &HeldVerdict { reason, by }))
    });
    Learnt { asked: asked.collect(), answer: verdicts.chain(readable(answer.known)).collect(), requested_at }
}

/// Exponential, with jitter over the whole of the second half, so that edges do not come back all at once.
fn pause_ms(failures: u32, random: u64) -> u64 {
    let pause = FIRST_PAUSE_MS.saturating_mul(1 << failures.min(16)).min(LAST_PAUSE_MS);
    pause / 2 + random % (pause / 2 + 1)
}
