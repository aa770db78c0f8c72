//! Connections to the one SQLite database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rusqlite::Connection;

/// How long a statement waits for another connection's write. Spin's own default, from rusqlite.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Idle connections above this number are closed.
const IDLE_MAX: usize = 32;

/// Statements that a connection keeps compiled.
const STATEMENTS_MAX: usize = 64;

/// Hands out connections and takes them back: an instance of the component lives for 128 requests, and opening
/// a connection for each would cost more than most of its statements.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    /// Never used, only held: SQLite checkpoints the whole log, and removes it, when the last connection closes.
    _anchor: Mutex<Connection>,
}

impl Pool {
    /// Opens `default.db` in `folder`, and makes both where they are missing.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let path = folder.join("default.db");
        let anchor = connect(&path).with_context(|| format!("cannot open the database {}", path.display()))?;
        Ok(Self(Arc::new(Inner { path, idle: Mutex::default(), _anchor: Mutex::new(anchor) })))
    }

    /// An idle connection, or a new one.
    pub(crate) fn take(&self) -> rusqlite::Result<Lent> {
        let idle = self.0.idle().pop();
        let connection = idle.map_or_else(|| connect(&self.0.path), Ok)?;
        Ok(Lent { connection: Some(connection), pool: self.clone() })
    }
}

impl Inner {
    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A push or a pop that panicked has left the list whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that goes back to its pool when dropped.
pub(crate) struct Lent {
    /// There until dropped.
    connection: Option<Connection>,
    pool: Pool,
}

impl Lent {
    /// The connection itself.
    pub(crate) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken out by drop only")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let mut idle = self.pool.0.idle();
        // A transaction left open would leak into the next instance; closing the connection rolls it back.
        if connection.is_autocommit() && idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }
}

/// A commit is on disk before it is reported: the component answers its callers on the strength of it.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool over a fresh folder, which goes when the test ends well.
    fn check(name: &str, test: impl FnOnce(&Pool)) {
        let folder = std::env::temp_dir().join(format!("playhead-spin-host-{}-{name}", std::process::id()));
        let pool = Pool::open(&folder).unwrap();
        test(&pool);
        drop(pool);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_commit_is_on_disk_before_it_is_reported() {
        check("durable", |pool| {
            let lent = pool.take().unwrap();
            let pragma = |name| lent.connection().pragma_query_value(None, name, |row| row.get::<_, String>(0));
            assert_eq!(pragma("journal_mode").unwrap(), "wal");
            let full: i64 = lent.connection().pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!(full, 2);
        });
    }

    #[test]
    fn a_transaction_left_open_is_rolled_back() {
        check("transaction", |pool| {
            let lent = pool.take().unwrap();
            lent.connection().execute_batch("CREATE TABLE t (n); BEGIN; INSERT INTO t VALUES (1)").unwrap();
            drop(lent);
            let next = pool.take().unwrap();
            let rows: i64 = next.connection().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
            assert_eq!((rows, next.connection().is_autocommit()), (0, true));
        });
    }

    #[test]
    fn an_idle_connection_is_lent_again() {
        check("again", |pool| {
            let lent = pool.take().unwrap();
            lent.connection().execute_batch("CREATE TEMP TABLE mine (n)").unwrap();
            drop(lent);
            let again = pool.take().unwrap();
            assert!(again.connection().prepare("SELECT n FROM mine").is_ok());
        });
    }
}
