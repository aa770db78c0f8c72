//! The seam to the platform: all that the edge can reach of the world, and nothing else.
//!
//! A shell implements [`Host`] and [`Sql`] by converting and calling; every decision is taken on this
//! side. Futures need not be `Send`: both platforms run one thread an instance.

use std::future::Future;

use futures_util::future::LocalBoxFuture;
use http::{HeaderName, HeaderValue};
use playhead_shared::time::Millis;
use thiserror::Error;

/// Clock, randomness, timers, background work and the origin.
pub trait Host: Clone + 'static {
    /// This edge's own wall clock.
    fn now(&self) -> Millis;

    /// A uniformly random number; used for jitter only.
    fn random(&self) -> u64;

    /// Waits `ms` milliseconds.
    fn sleep(&self, ms: u64) -> impl Future<Output = ()>;

    /// Runs `work` to its end even when the request that started it has been answered or given up.
    /// The platform may still kill it: nothing that must happen may rely on it.
    fn spawn(&self, work: LocalBoxFuture<'static, ()>);

    /// Asks to have [`flush`](crate::flush) called at `at` at the latest, even if no request comes and even
    /// after a restart. A platform without durable timers does nothing here: its operator's timer flushes.
    fn wake_at(&self, at: Millis) -> impl Future<Output = ()>;

    /// Posts a CBOR `body` to `path` (such as `/v1/batches`) of the origin, with the service token, and
    /// returns the body of a 200. Takes as long as it takes: the caller races it against [`Host::sleep`].
    fn call(&self, path: &str, body: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, CallError>>;

    /// What the operator's timer is told beside that the flush was tried: headers of its answer.
    fn figures(&self) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }

    /// Writes one line for the operator. Never holds a token or a viewer's title.
    fn log(&self, line: &str);
}

/// Why the origin gave no usable answer. Every kind is retried; the text is for the operator's log only.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallError {
    /// No answer at all: connection refused or broken, or too slow.
    #[error("the origin cannot be reached: {0}")]
    Unreachable(String),
    /// An answer other than 200.
    #[error("the origin answered {0}")]
    Status(u16),
    /// A 200 whose body could not be read.
    #[error("the origin's answer cannot be read: {0}")]
    Unreadable(String),
}

/// One value in or out of a SQL statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A 64-bit integer; on Workers only the 53 bits that a JavaScript number holds exactly.
    Integer(i64),
    /// UTF-8 text.
    Text(String),
    /// Bytes, compared as `memcmp` does.
    Blob(Vec<u8>),
}

/// A SQLite database, one statement at a time. Statements of concurrent requests may interleave, so every
/// change is one atomic statement and none is a transaction.
pub trait Sql: 'static {
    /// Runs one statement with `?1`, `?2`, … bound to `params`, and returns its rows. A change is durable
    /// before anything that the caller sends out afterwards can be seen.
    fn run(&self, statement: &str, params: Vec<Value>) -> impl Future<Output = Result<Vec<Vec<Value>>, SqlError>>;
}

/// The database failed or is full; nothing of the statement was applied. The text is for the log only.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the edge's database failed: {0}")]
pub struct SqlError(pub String);
