//! Facts in Cassandra: one table, whose cells it merges as we do, by stamp and then by bytes.
//!
//! Every write is the same register however often it is sent, so each may be repeated, and sent to a second node when
//! the first is slow. What bounds the backend: how many requests are in flight, how many wait, and for how long.

mod facts;
mod open;
mod schema;

use std::future::Future;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use self::facts::Statements;
use super::{Result, StoreError};
use crate::config::{BadConfig, CassandraConfig};

pub use self::schema::{Applied, apply};

/// How long one request may take, its turn included: where Cassandra hangs, callers must not. The edge keeps what it sent.
const DEADLINE: Duration = Duration::from_secs(2);
/// Requests in flight: more only wait in Cassandra instead of here.
const IN_FLIGHT: usize = 256;
/// Requests in flight of one call, so that a large batch leaves room for others.
const IN_FLIGHT_OF_ONE: usize = 64;
/// A write takes one place in the queue and another for so many rows: rows are what fills memory.
const ROWS_OF_A_PLACE: usize = 16;

/// The facts of a keyspace.
#[derive(Debug)]
pub struct Cassandra {
    session: Session,
    statements: Statements,
    in_flight: Semaphore,
    queue: Semaphore,
    places: usize,
}

impl Cassandra {
    /// Connects, and sees that the keyspace is there and of the version that this one knows. `queue` calls may wait;
    /// further ones are told that the store is busy. The error is one sentence for the operator.
    pub async fn open(config: &CassandraConfig, queue: usize) -> std::result::Result<Self, BadConfig> {
        let session = open::connect(config).await?;
        schema::check(&session, config).await?;
        let statements = Statements::prepare(&session, &config.keyspace).await.map_err(|error| {
            let sentence = "see that the user may read and write its tables";
            BadConfig(format!("the keyspace {} cannot be used ({}): {sentence}.", config.keyspace, open::cause(&error)))
        })?;
        let (in_flight, places) = (Semaphore::new(IN_FLIGHT), Semaphore::new(queue));
        Ok(Self { session, statements, in_flight, queue: places, places: queue })
    }

    /// A place in the queue for a call with so many rows, or the news that there is none.
    fn place(&self, rows: usize) -> Result<SemaphorePermit<'_>> {
        let places = (1 + rows / ROWS_OF_A_PLACE).min(self.places);
        self.queue.try_acquire_many(u32::try_from(places).unwrap_or(u32::MAX)).map_err(|_| StoreError::Busy)
    }

    /// One request, in its turn and before the deadline.
    async fn request<T>(
        &self,
        request: impl Future<Output = std::result::Result<T, ExecutionError>> + Send,
    ) -> Result<T> {
        let in_turn = async {
            let _turn = self.in_flight.acquire().await.map_err(|_| StoreError::Busy)?;
            request.await.map_err(failed)
        };
        let late = || StoreError::Failed(format!("Cassandra did not answer within {} s", DEADLINE.as_secs()));
        timeout(DEADLINE, in_turn).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Whatever the driver says, it is the store's fault: what we send depends on nobody's input but for its bytes.
fn failed(error: impl std::error::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}
