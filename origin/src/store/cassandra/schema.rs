//! The tables: made by `origin schema apply`, and looked at by every origin that starts.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::unprepared::Statement;

use super::open::{cause, connect};
use crate::config::{BadConfig, CassandraConfig, Replication};

/// What this version reads and writes.
const VERSION: i32 = 1;
/// What makes it, statement by statement, each harmless where it has been run before.
const TABLES: &str = include_str!("schema.cql");
/// The part of the system whose version it is.
const PART: &str = "facts";
/// Changing a schema waits until all nodes have it.
const CHANGING: Duration = Duration::from_secs(60);

/// What [`apply`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There was nothing, and now there is all.
    Created,
    /// All of it was there.
    Nothing,
}

/// Makes the keyspace and its tables, where they are not there. To be run by one process at a time: nodes that are
/// told by two at once may make of one table two.
pub async fn apply(config: &CassandraConfig) -> Result<Applied, BadConfig> {
    let session = connect(config).await?;
    let before = version(&session, config).await?;
    if let Some(found) = before.filter(|&found| found > VERSION) {
        return Err(unknown(config, found));
    }
    if !exists(&session, "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", config).await? {
        create_keyspace(&session, config).await?;
    }
    // The file names no keyspace, so that any tool can run it in any.
    session.use_keyspace(&config.keyspace, false).await.map_err(|error| cannot_apply(config, &error))?;
    for statement in statements() {
        change(&session, &statement).await.map_err(|error| cannot_apply(config, &error))?;
    }
    let update = format!("UPDATE {}.schema_version SET version = ? WHERE part = ?", config.keyspace);
    session.query_unpaged(update, (VERSION, PART)).await.map_err(|error| cannot_apply(config, &error))?;
    Ok(if before == Some(VERSION) { Applied::Nothing } else { Applied::Created })
}

/// Sees that the keyspace is there and of this version.
pub(super) async fn check(session: &Session, config: &CassandraConfig) -> Result<(), BadConfig> {
    match version(session, config).await? {
        Some(VERSION) => Ok(()),
        Some(found) => Err(unknown(config, found)),
        None => Err(BadConfig(format!(
            "Cassandra has no keyspace {} with the tables of Playhead: correct cassandra_keyspace, or run `origin schema \
             apply`.",
            config.keyspace
        ))),
    }
}

fn unknown(config: &CassandraConfig, found: i32) -> BadConfig {
    let keyspace = &config.keyspace;
    let sentence = "run an origin of the version that applied it, or a newer one";
    BadConfig(format!("the keyspace {keyspace} has schema {found} and this origin knows {VERSION}: {sentence}."))
}

/// Which version is there, if any is.
async fn version(session: &Session, config: &CassandraConfig) -> Result<Option<i32>, BadConfig> {
    const TABLE: &str = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = \
                         'schema_version'";
    if !exists(session, TABLE, config).await? {
        return Ok(None);
    }
    let select = format!("SELECT version FROM {}.schema_version WHERE part = ?", config.keyspace);
    let found = session.query_unpaged(select, (PART,)).await.map_err(|error| unreadable(config, &error))?;
    let rows = found.into_rows_result().map_err(|error| unreadable(config, &error))?;
    let row = rows.maybe_first_row::<(i32,)>().map_err(|error| unreadable(config, &error))?;
    Ok(row.map(|(version,)| version))
}

async fn exists(session: &Session, select: &str, config: &CassandraConfig) -> Result<bool, BadConfig> {
    let found = session.query_unpaged(select, (&config.keyspace,)).await.map_err(|error| unreadable(config, &error))?;
    let rows = found.into_rows_result().map_err(|error| unreadable(config, &error))?;
    Ok(rows.rows_num() > 0)
}

async fn create_keyspace(session: &Session, config: &CassandraConfig) -> Result<(), BadConfig> {
    let (keyspace, replication) = (&config.keyspace, &config.replication);
    let nodes = session.get_cluster_state().get_nodes_info().len();
    if let Replication::Everywhere(copies) = *replication
        && usize::from(copies) > nodes
    {
        return Err(BadConfig(format!(
            "cassandra_replication is {copies}, and Cassandra has {nodes} of the nodes that takes: add some, or give \
             {nodes}."
        )));
    }
    let map = match replication {
        Replication::Everywhere(copies) => format!("'replication_factor': {copies}"),
        Replication::Datacenters(datacenters) => {
            let parts = datacenters.iter().map(|(name, copies)| format!("'{name}': {copies}"));
            parts.collect::<Vec<_>>().join(", ")
        }
    };
    let create = format!(
        "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', {map}}}"
    );
    change(session, &create).await.map_err(|error| match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::ConfigError | DbError::Invalid,
            said,
        )) => BadConfig(format!(
            "cassandra_replication is \"{replication}\", which Cassandra refuses ({said}): name its data centres."
        )),
        error => cannot_apply(config, &error),
    })
}

async fn change(session: &Session, statement: &str) -> Result<(), ExecutionError> {
    let mut statement = Statement::new(statement);
    statement.set_request_timeout(Some(CHANGING));
    session.query_unpaged(statement, ()).await.map(drop)
}

fn cannot_apply(config: &CassandraConfig, error: &(impl std::error::Error + 'static)) -> BadConfig {
    let sentence = "see that all its nodes run and that the user may create, then run this again";
    BadConfig(format!("the keyspace {} cannot be made ({}): {sentence}.", config.keyspace, cause(error)))
}

fn unreadable(config: &CassandraConfig, error: &(impl std::error::Error + 'static)) -> BadConfig {
    let sentence = "see that enough of its nodes run and that the user may read it";
    BadConfig(format!("the keyspace {} cannot be read ({}): {sentence}.", config.keyspace, cause(error)))
}

/// The statements of the file, without its comments, which may hold anything.
fn statements() -> Vec<String> {
    let code: Vec<&str> = TABLES.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n").split(';').map(|statement| statement.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_may_be_run_again() {
        let statements = statements();
        assert_eq!(statements.len(), 2);
        assert!(statements.iter().all(|statement| statement.starts_with("CREATE TABLE IF NOT EXISTS")));
    }
}
