//! Many viewers over few connections: each thread is one, and does what is due next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use playhead_shared::moves;
use playhead_tests::client::{Answer, Ask, Client};
use playhead_tests::device::beats;
use playhead_tests::{now, token};
use serde_json::{Value, json};

use crate::OVER;
use crate::ledger::{Fate, Ledger, Wish};
use crate::measured::Measured;
use crate::viewer::{STREAMS, Viewer};

const CONNECTIONS: usize = 24;
/// A device gives up on an answer after so long, and comes again.
const PATIENCE: Duration = Duration::from_secs(6);
const FIRST_PAUSE: Duration = Duration::from_millis(400);
const LAST_PAUSE: Duration = Duration::from_secs(4);
/// The most heartbeats that a device sends at once.
const BATCH: usize = 50;
/// When all is well again, nobody needs longer to be rid of what they have to say.
const FINISHING: Duration = Duration::from_secs(90);
/// Tokens are good for an hour.
const TOKEN_LIFE: Duration = Duration::from_secs(1_800);
/// Every so many-th viewer watches incognito.
const INCOGNITO: usize = 50;

/// What the crowd is told.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) viewers: usize,
    /// Between two things that one viewer does.
    pub(crate) cadence: Duration,
}

/// Somebody, and how they talk to the edge.
pub(crate) struct Member {
    pub(crate) identity: Vec<moves::Viewer>,
    viewer: Viewer,
    tokens: Vec<(Instant, String)>,
    next_act: Instant,
    retry_at: Instant,
    backoff: Duration,
    finished: bool,
    /// What was answered otherwise than anything that they sent deserves.
    pub(crate) refused: Vec<String>,
}

/// Viewers, each at most once in the queue.
pub(crate) struct Crowd {
    members: Vec<Mutex<Member>>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

struct Queue {
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    left: usize,
    over_since: Option<Instant>,
}

impl Crowd {
    pub(crate) fn new(options: &Options) -> anyhow::Result<Crowd> {
        let began = Instant::now();
        let mut due = BinaryHeap::new();
        let mut members = Vec::new();
        for number in 0..options.viewers {
            // Nobody acts at the same time as everybody.
            let first = began + options.cadence.mul_f64(number as f64 / options.viewers as f64);
            due.push(Reverse((first, number)));
            members.push(Mutex::new(Member::new(options.seed, number, first)?));
        }
        Ok(Crowd {
            members,
            queue: Mutex::new(Queue { due, left: options.viewers, over_since: None }),
            changed: Condvar::new(),
        })
    }

    /// Lets everybody watch until it `is_over`, and then send what they have left, for which there must be an edge again.
    pub(crate) fn watch(
        &self,
        edge: &str,
        is_over: &(impl Fn() -> bool + Sync),
        cadence: Duration,
        measured: &Measured,
    ) {
        let client = Client::patient(edge, PATIENCE);
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    while let Some((due, number)) = self.next(is_over) {
                        let next = lock(&self.members[number]).step(&client, due, is_over(), cadence, measured);
                        let mut queue = lock(&self.queue);
                        match next {
                            Some(at) => queue.due.push(Reverse((at, number))),
                            None => queue.left -= 1,
                        }
                        drop(queue);
                        self.changed.notify_one();
                    }
                });
            }
        });
    }

    /// Everybody, once all is over.
    pub(crate) fn members(self) -> Vec<Member> {
        self.members.into_iter().map(|member| member.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
    }

    /// The next one who is due; none when there will be none any more.
    fn next(&self, is_over: &impl Fn() -> bool) -> Option<(Instant, usize)> {
        let mut queue = lock(&self.queue);
        loop {
            let now = Instant::now();
            if queue.over_since.is_none() && is_over() {
                queue.over_since = Some(now);
            }
            let too_long = queue.over_since.is_some_and(|since| now >= since + FINISHING);
            if queue.left == 0 || too_long || OVER.load(Ordering::Relaxed) {
                self.changed.notify_all();
                return None;
            }
            let wait = match queue.due.peek() {
                Some(Reverse((due, _))) if *due <= now => return queue.due.pop().map(|Reverse(next)| next),
                Some(Reverse((due, _))) => *due - now,
                None => FIRST_PAUSE,
            };
            // Another thread may find something earlier; none sleeps through the end.
            queue = (self.changed.wait_timeout(queue, wait.min(FIRST_PAUSE)))
                .map_or_else(|poisoned| poisoned.into_inner().0, |(queue, _)| queue);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Member {
    fn new(seed: u64, number: usize, first: Instant) -> anyhow::Result<Member> {
        let viewer = Viewer::new(seed, number);
        // Two profiles of each account; some watch incognito.
        let (account, profile) = (format!("drill-{}", number / 2), format!("profile-{}", number % 2));
        let identity = viewer.devices.iter().map(|device| {
            anyhow::Ok(moves::Viewer {
                account: account.parse()?,
                profile: profile.parse()?,
                device: device.name.parse()?,
                streams: STREAMS,
                incognito: number % INCOGNITO == INCOGNITO - 1,
            })
        });
        let identity = identity.collect::<Result<Vec<_>, _>>()?;
        let tokens = identity.iter().map(|who| (first, authorization(who))).collect();
        Ok(Member {
            identity,
            viewer,
            tokens,
            next_act: first,
            retry_at: first,
            backoff: FIRST_PAUSE,
            finished: false,
            refused: Vec::new(),
        })
    }

    /// What they said and were told.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.viewer.ledger
    }

    /// How much they never got rid of, although there was an edge.
    pub(crate) fn unanswered(&self) -> usize {
        self.viewer.commands.len() + self.viewer.devices.iter().map(|device| device.outbox.len()).sum::<usize>()
    }

    /// Does what is due, and says when there will be more; never again if all is said.
    fn step(
        &mut self,
        client: &Client,
        due: Instant,
        over: bool,
        cadence: Duration,
        measured: &Measured,
    ) -> Option<Instant> {
        let now = Instant::now();
        if over {
            if !self.finished {
                self.finished = true;
                self.viewer.finish();
                self.viewer.devices.iter_mut().for_each(|device| device.offline_until = None);
            }
        } else if now >= self.next_act {
            self.viewer.act();
            self.next_act = now + self.viewer.pause(cadence);
        }
        if now >= self.retry_at {
            if self.send(client, due, measured) {
                self.backoff = FIRST_PAUSE;
            } else {
                self.retry_at = Instant::now() + self.viewer.jittered(self.backoff);
                self.backoff = (self.backoff * 2).min(LAST_PAUSE);
            }
        }
        if self.finished { (self.unanswered() > 0).then_some(self.retry_at.max(now)) } else { Some(self.next_act) }
    }

    /// Sends whatever waits. False: an edge did not take it.
    fn send(&mut self, client: &Client, due: Instant, measured: &Measured) -> bool {
        for at in 0..self.viewer.devices.len() {
            if self.viewer.devices[at].offline_until.is_some_and(|until| until > Instant::now()) {
                continue;
            }
            if !(self.open(client, at, due, measured) && self.send_beats(client, at, due, measured)) {
                return false;
            }
        }
        self.send_commands(client, due, measured)
    }

    /// Asks for admission. Playback waits for it no longer than for one answer, whatever it is.
    fn open(&mut self, client: &Client, at: usize, due: Instant, measured: &Measured) -> bool {
        let Some((session, title)) = self.viewer.devices[at].to_open.take() else { return true };
        let body = json!({"sent_at": now().0, "title_id": title.id});
        let answer =
            self.ask(client, at, Ask::new("PUT", format!("/v1/sessions/{session}")).json(&body), due, measured);
        match answer {
            Some(answer) if ![200, 201, 409].contains(&answer.status) => self.refuse("an admission", &answer),
            answer => answer.is_some(),
        }
    }

    fn send_beats(&mut self, client: &Client, at: usize, due: Instant, measured: &Measured) -> bool {
        while !self.viewer.devices[at].outbox.is_empty() {
            let outbox = &self.viewer.devices[at].outbox;
            let sent = outbox[..outbox.len().min(BATCH)].to_vec();
            let ledger = &mut self.viewer.ledger;
            let heartbeats: Vec<Value> = sent.iter().map(|index| ledger.beats[*index].json()).collect();
            for index in &sent {
                ledger.beats[*index].fate = ledger.beats[*index].fate.max(Fate::Sent);
            }
            let Some(answer) = self.ask(client, at, beats(&heartbeats), due, measured) else { return false };
            let json = answer.json();
            if answer.status != 202 || json["accepted"] != sent.len() {
                return self.refuse("heartbeats", &answer);
            }
            for index in &sent {
                self.viewer.ledger.beats[*index].fate = Fate::Acknowledged;
            }
            let again = self.viewer.repeat(&sent);
            if !again.is_empty() {
                // An answer or none: they were acknowledged before.
                self.ask(client, at, beats(&heartbeats), Instant::now(), measured);
            }
            self.viewer.devices[at].outbox.drain(..sent.len());
        }
        true
    }

    fn send_commands(&mut self, client: &Client, due: Instant, measured: &Measured) -> bool {
        while let Some(index) = self.viewer.commands.first().copied() {
            let command = &mut self.viewer.ledger.commands[index];
            command.fate = Fate::Sent;
            let (observed_at, sent_at) = (command.observed_at, now().0);
            let query = format!("sent_at={sent_at}&observed_at={observed_at}");
            let set = |title: &str, what: &str, to: bool| {
                let body = json!({"sent_at": sent_at, "observed_at": observed_at, what: to});
                Ask::new("PUT", format!("/v1/titles/{title}/{what}")).json(&body)
            };
            let ask = match &command.wish {
                Wish::Watched(title, to) => set(&title.id, "watched", *to),
                Wish::Hidden(title, to) => set(&title.id, "hidden", *to),
                Wish::Forget(title) => Ask::new("DELETE", format!("/v1/titles/{}?{query}", title.id)),
                Wish::Delete(session) => Ask::new("DELETE", format!("/v1/history/{session}?{query}")),
            };
            match self.ask(client, 0, ask, due, measured) {
                Some(answer) if answer.status == 204 => {}
                Some(answer) => return self.refuse("a command", &answer),
                None => return false,
            }
            self.viewer.ledger.commands[index].fate = Fate::Acknowledged;
            self.viewer.commands.remove(0);
        }
        true
    }

    /// One request; none if it was not answered, or with a promise to be answered later.
    fn ask(&mut self, client: &Client, at: usize, ask: Ask, due: Instant, measured: &Measured) -> Option<Answer> {
        let (minted, token) = &mut self.tokens[at];
        if minted.elapsed() > TOKEN_LIFE {
            (*minted, *token) = (Instant::now(), authorization(&self.identity[at]));
        }
        let ask = ask.header("authorization", token.as_str());
        let answer = client.send(&ask).ok();
        // A device that hung until its request was too old sends it again, as it does after a 503.
        let answer = answer.filter(|answer| answer.status < 500 && answer.code() != "clock_skew");
        measured.request(due, answer.is_some());
        answer
    }

    fn refuse(&mut self, what: &str, answer: &Answer) -> bool {
        self.refused.push(format!("{what} of {}: {} {}", self.identity[0].account, answer.status, answer.text()));
        false
    }
}

/// What a device shows.
pub(crate) fn authorization(who: &moves::Viewer) -> String {
    format!("Bearer {}", token::local(&token::claims(who)))
}
