//! A world for the edge: virtual time, a real SQLite, and an origin that merges registers in memory.
#![allow(dead_code)] // each test file uses a part of it

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use playhead_edge::host::{CallError, Host, Sql, SqlError, Value};
use playhead_shared::register::{Entry, Fact, Register, Session};
use playhead_shared::time::Millis;
use playhead_shared::wire::*;
use tokio::time::{Duration, Instant, sleep};

/// Where every test begins.
pub(crate) const START: Millis = Millis(1_800_000_000_000);

/// Runs a test in virtual time: it passes only while nobody has anything to do.
pub(crate) fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a test support failed");
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// The world of one edge.
#[derive(Clone)]
pub(crate) struct World {
    began: Instant,
    /// The origin that `call` reaches.
    pub(crate) origin: Rc<Origin>,
    /// When the edge last asked to be woken.
    pub(crate) wake: Rc<Cell<Option<Millis>>>,
    pub(crate) log: Rc<RefCell<Vec<String>>>,
}

impl World {
    pub(crate) fn new(origin: Rc<Origin>) -> Self {
        Self { began: Instant::now(), origin, wake: Rc::default(), log: Rc::default() }
    }
}

impl Host for World {
    fn now(&self) -> Millis {
        START.plus(self.began.elapsed().as_millis() as u64)
    }

    fn random(&self) -> u64 {
        7
    }

    async fn sleep(&self, ms: u64) {
        sleep(Duration::from_millis(ms)).await;
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        tokio::task::spawn_local(work);
    }

    async fn wake_at(&self, at: Millis) {
        self.wake.set(Some(at));
    }

    async fn call(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        self.origin.answer(path, &body, self.now()).await
    }

    fn log(&self, line: &str) {
        self.log.borrow_mut().push(line.to_owned());
    }
}

/// How the origin is.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Well,
    Down,
    /// Takes connections and answers nothing.
    Hanging,
    /// Names every register as unread.
    Older,
}

/// An origin in memory: merges, and answers what the edge asks. Its streams are the leases that were not stopped.
pub(crate) struct Origin {
    pub(crate) mood: Cell<Mood>,
    pub(crate) facts: RefCell<BTreeMap<(String, Fact), Register>>,
    pub(crate) leases: RefCell<BTreeMap<String, Lease>>,
    pub(crate) batches: RefCell<Vec<Batch>>,
    pub(crate) reads: Cell<usize>,
    pub(crate) clock_ahead_ms: Cell<i64>,
}

impl Origin {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            mood: Cell::new(Mood::Well),
            facts: RefCell::default(),
            leases: RefCell::default(),
            batches: RefCell::default(),
            reads: Cell::new(0),
            clock_ahead_ms: Cell::new(0),
        })
    }

    async fn answer(&self, path: &str, body: &[u8], now: Millis) -> Result<Vec<u8>, CallError> {
        match self.mood.get() {
            Mood::Down => return Err(CallError::Status(503)),
            Mood::Hanging => std::future::pending().await,
            Mood::Well | Mood::Older => {}
        }
        sleep(Duration::from_millis(1)).await;
        let server_time = Millis(now.0.saturating_add_signed(self.clock_ahead_ms.get()));
        Ok(match path {
            BATCHES => {
                minicbor::to_vec(self.take(&minicbor::decode(body).expect("a test support failed"), server_time))
            }
            ADMISSIONS => {
                minicbor::to_vec(self.admit(&minicbor::decode(body).expect("a test support failed"), server_time))
            }
            READS => minicbor::to_vec(self.read(&minicbor::decode(body).expect("a test support failed"), server_time)),
            _ => return Err(CallError::Status(404)),
        }
        .expect("a test support failed"))
    }

    fn take(&self, batch: &Batch, server_time: Millis) -> BatchAnswer {
        self.batches.borrow_mut().push(batch.clone());
        let mut answer = BatchAnswer { server_time, ..BatchAnswer::default() };
        if self.mood.get() == Mood::Older {
            answer.unread = (0..batch.registers.len() as u32).collect();
            return answer;
        }
        for wire in batch.registers.iter().cloned() {
            let entry = Entry::try_from(wire).expect("a test support failed");
            let mut facts = self.facts.borrow_mut();
            let held = facts.entry((entry.account.to_string(), entry.fact)).or_insert(entry.register.clone());
            *held = held.clone().max(entry.register);
        }
        for lease in &batch.leases {
            self.leases.borrow_mut().insert(lease.session.to_string(), lease.clone());
        }
        answer
    }

    fn admit(&self, admission: &Admission, server_time: Millis) -> AdmissionAnswer {
        self.take(&admission.batch, server_time);
        let lease = &admission.lease;
        let ended = |session| self.facts.borrow().keys().any(|(_, fact)| *fact == Fact::Ended(session));
        let mut streams: Vec<Stream> = (self.leases.borrow().values())
            .filter(|l| !l.stopped && l.session != lease.session && !ended(l.session))
            .map(Lease::stream)
            .collect();
        let outcome = if streams.len() < lease.limit as usize { Outcome::Admitted } else { Outcome::Refused };
        if outcome == Outcome::Admitted {
            self.leases.borrow_mut().insert(lease.session.to_string(), lease.clone());
            streams.push(lease.stream());
        }
        let registers = self.entries(|fact| match fact {
            Fact::Latest(_, t) | Fact::Watched(_, t) | Fact::Forgotten(_, t) => *t == lease.title,
            _ => false,
        });
        AdmissionAnswer { server_time, outcome, streams, registers, renewed: false }
    }

    fn read(&self, read: &Read, server_time: Millis) -> ReadAnswer {
        self.reads.set(self.reads.get() + 1);
        let mut answer = ReadAnswer { server_time, ..ReadAnswer::default() };
        match &read.what {
            What::History { limit, before } => {
                let listed = self.entries(|fact| match fact {
                    Fact::Session(_, id) => before.is_none_or(|before| *id < before),
                    _ => false,
                });
                answer.more = listed.len() > *limit as usize;
                answer.registers = listed.into_iter().rev().take(*limit as usize).collect();
                answer.registers.extend(self.entries(|fact| !matches!(fact, Fact::Session(..))));
            }
            What::Streams => {
                answer.streams = self.leases.borrow().values().filter(|l| !l.stopped).map(Lease::stream).collect();
            }
            What::Titles(_) | What::ContinueWatching { .. } => answer.registers = self.entries(|_| true),
        }
        answer
    }

    fn entries(&self, wanted: impl Fn(&Fact) -> bool) -> Vec<WireEntry> {
        let facts = self.facts.borrow();
        let wanted = facts.iter().filter(|((_, fact), _)| wanted(fact));
        wanted
            .map(|((account, fact), register)| {
                let account = account.parse().expect("a test support failed");
                Entry { account, fact: fact.clone(), register: register.clone() }.into()
            })
            .collect()
    }

    /// The plays that the origin has, with their position.
    pub(crate) fn plays(&self) -> Vec<(String, u64)> {
        let facts = self.facts.borrow();
        let plays = facts.iter().filter_map(|((_, fact), register)| match fact {
            Fact::Session(_, id) => {
                Some((id.to_string(), register.value::<Session>().expect("a test support failed").position_ms))
            }
            _ => None,
        });
        plays.collect()
    }
}

/// A real SQLite, shared by all that hold a clone: reopening is a new `Held` over the same one.
#[derive(Clone)]
pub(crate) struct Sqlite {
    connection: Rc<rusqlite::Connection>,
    /// Every change fails while set.
    pub(crate) broken: Rc<Cell<bool>>,
    /// How many statements changed rows, and how many rows they changed.
    pub(crate) rows_written: Rc<Cell<usize>>,
    /// How many rows were walked over for want of an index.
    pub(crate) steps_of_scans: Rc<Cell<i32>>,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let connection = Rc::new(rusqlite::Connection::open_in_memory().expect("a test support failed"));
        Self { connection, broken: Rc::default(), rows_written: Rc::default(), steps_of_scans: Rc::default() }
    }
}

impl Sql for Sqlite {
    async fn run(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, SqlError> {
        use rusqlite::types::Value as V;
        tokio::task::yield_now().await;
        if self.broken.get() && !statement.trim_start().starts_with("SELECT") {
            return Err(SqlError("disk I/O error".to_owned()));
        }
        let params = params.into_iter().map(|value| match value {
            Value::Null => V::Null,
            Value::Integer(i) => V::Integer(i),
            Value::Text(t) => V::Text(t),
            Value::Blob(b) => V::Blob(b),
        });
        let fail = |error: rusqlite::Error| SqlError(error.to_string());
        let mut prepared = self.connection.prepare_cached(statement).map_err(fail)?;
        let columns = prepared.column_count();
        let rows = prepared
            .query_map(rusqlite::params_from_iter(params), |row| {
                (0..columns)
                    .map(|column| {
                        Ok(match row.get(column)? {
                            V::Null => Value::Null,
                            V::Integer(i) => Value::Integer(i),
                            V::Text(t) => Value::Text(t),
                            V::Blob(b) => Value::Blob(b),
                            V::Real(_) => unreachable!("the edge keeps no floats"),
                        })
                    })
                    .collect()
            })
            .map_err(fail)?
            .collect::<Result<_, _>>()
            .map_err(fail);
        let steps = prepared.reset_status(rusqlite::StatementStatus::FullscanStep);
        self.steps_of_scans.set(self.steps_of_scans.get() + steps);
        self.rows_written.set(self.connection.total_changes() as usize);
        rows
    }
}
