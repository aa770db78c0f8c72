//! Reading and writing registers.

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Entry, Fact, Kind, Register};
use playhead_shared::time::{Millis, Stamp};
use scylla::DeserializeRow;
use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::response::PagingState;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;

use super::{Cassandra, IN_FLIGHT_OF_ONE, Result, StoreError, failed};
use crate::store::FactStore;

/// All that is ever asked of the table.
#[derive(Debug)]
pub(super) struct Statements {
    write: PreparedStatement,
    delete: PreparedStatement,
    get: PreparedStatement,
    scan: PreparedStatement,
    sessions: PreparedStatement,
}

/// Rows of one batch at most: a profile's backlog of a month of flights is no single message.
const ROWS_OF_A_BATCH: usize = 128;
/// Rows of one question at most, which a node answers one by one.
const ROWS_OF_A_QUESTION: usize = 100;
/// Rows of one page: about half a megabyte.
const ROWS_OF_A_PAGE: i32 = 2_000;
/// Greater than any session's id.
const AFTER_ALL_SESSIONS: &str = "~";

impl Statements {
    pub(super) async fn prepare(session: &Session, keyspace: &str) -> std::result::Result<Self, PrepareError> {
        let table = format!("{keyspace}.registers");
        let prepare = async |text: String| {
            let mut statement = session.prepare(text).await?;
            // A register says the same however often it is said.
            statement.set_is_idempotent(true);
            statement.set_page_size(ROWS_OF_A_PAGE);
            Ok::<_, PrepareError>(statement)
        };
        let select = format!("SELECT kind, key, register FROM {table} WHERE account = ? AND profile = ?");
        let of_row = "account = ? AND profile = ? AND kind = ? AND key = ?";
        Ok(Self {
            write: prepare(format!("UPDATE {table} USING TIMESTAMP ? SET register = ? WHERE {of_row}")).await?,
            delete: prepare(format!("DELETE FROM {table} USING TIMESTAMP ? WHERE {of_row}")).await?,
            get: prepare(format!("{select} AND (kind, key) IN ?")).await?,
            scan: prepare(format!("{select} AND kind >= ? AND kind <= ?")).await?,
            sessions: prepare(format!("{select} AND kind = ? AND key < ? LIMIT ?")).await?,
        })
    }
}

impl FactStore for Cassandra {
    async fn merge(&self, entries: Vec<Entry>, _now: Millis) -> Result<()> {
        let _place = self.place(entries.len())?;
        let mut partitions: HashMap<_, Vec<_>> = HashMap::new();
        for Entry { account, fact, register } in &entries {
            let (account, profile) = (account.as_str(), partition(fact.profile()));
            let row =
                (timestamp(register.stamp()), register.as_bytes(), account, profile, fact.kind() as i8, fact.name());
            partitions.entry((account, profile)).or_default().push(row);
        }
        self.mutate(&self.statements.write, partitions.into_values()).await
    }

    async fn get(&self, account: &AccountId, facts: &[Fact]) -> Result<Vec<Option<Register>>> {
        let _place = self.place(facts.len())?;
        let mut partitions: HashMap<&str, Vec<(i8, String)>> = HashMap::new();
        for fact in facts {
            partitions.entry(partition(fact.profile())).or_default().push((fact.kind() as i8, fact.name()));
        }
        let mut questions = Vec::new();
        for (profile, names) in &partitions {
            for names in names.chunks(ROWS_OF_A_QUESTION) {
                questions.push(self.facts(&self.statements.get, (account.as_str(), *profile, names), profile));
            }
        }
        let found: HashMap<Fact, Register> = stream::iter(questions)
            .buffer_unordered(IN_FLIGHT_OF_ONE)
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .flatten()
            .collect();
        Ok(facts.iter().map(|fact| found.get(fact).cloned()).collect())
    }

    async fn scan(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        from: Kind,
        to: Kind,
    ) -> Result<Vec<(Fact, Register)>> {
        let _place = self.place(0)?;
        let values = (account.as_str(), profile.as_str(), from as i8, to as i8);
        self.facts(&self.statements.scan, values, profile.as_str()).await
    }

    async fn sessions(
        &self,
        account: &AccountId,
        profile: &ProfileId,
        before: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<(SessionId, Register)>> {
        let _place = self.place(0)?;
        if limit == 0 {
            return Ok(Vec::new()); // For Cassandra an error.
        }
        let before = before.map_or_else(|| AFTER_ALL_SESSIONS.to_owned(), |session| session.to_string());
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let values = (account.as_str(), profile.as_str(), Kind::Session as i8, before, limit);
        let found = self.facts(&self.statements.sessions, values, profile.as_str()).await?;
        let sessions = found.into_iter().filter_map(|(fact, register)| match fact {
            Fact::Session(_, session) => Some((session, register)),
            _ => None,
        });
        Ok(sessions.collect())
    }

    /// Says to Cassandra that whatever was written under a smaller stamp is deleted, without looking: so what comes
    /// late, and is older, is deleted already.
    async fn delete_older(&self, account: &AccountId, facts: Vec<Fact>, stamp: Stamp) -> Result<()> {
        let Some(newest) = stamp.0.checked_sub(1) else { return Ok(()) };
        let Ok(timestamp) = i64::try_from(newest) else {
            // It would be deleted for good, with all that is yet to come.
            return Err(StoreError::Failed("a deletion of what is older than the end of time".to_owned()));
        };
        let _place = self.place(facts.len())?;
        let mut partitions: HashMap<_, Vec<_>> = HashMap::new();
        for fact in &facts {
            let profile = partition(fact.profile());
            let row = (timestamp, account.as_str(), profile, fact.kind() as i8, fact.name());
            partitions.entry(profile).or_default().push(row);
        }
        self.mutate(&self.statements.delete, partitions.into_values()).await
    }
}

impl Cassandra {
    /// Runs the statement with each of the rows: those of a partition as one mutation, durable and seen as a whole or
    /// not at all; partitions side by side, because a batch over several would only make one node the others' client.
    async fn mutate<R: SerializeRow + Send + Sync>(
        &self,
        statement: &PreparedStatement,
        partitions: impl Iterator<Item = Vec<R>>,
    ) -> Result<()> {
        let mut batches = Vec::new();
        for mut rows in partitions {
            while rows.len() > ROWS_OF_A_BATCH {
                batches.push(rows.split_off(rows.len() - ROWS_OF_A_BATCH));
            }
            batches.push(rows);
        }
        stream::iter(batches)
            .map(|rows| self.batch(statement, rows))
            .buffer_unordered(IN_FLIGHT_OF_ONE)
            .try_collect::<()>()
            .await
    }

    async fn batch(&self, statement: &PreparedStatement, rows: Vec<impl SerializeRow + Send + Sync>) -> Result<()> {
        if let [row] = rows.as_slice() {
            return self.request(self.session.execute_unpaged(statement, row)).await.map(drop);
        }
        let statements = vec![statement.clone().into(); rows.len()];
        // Logged, it would be written twice more; of one partition it is atomic anyway.
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        self.request(self.session.batch(&batch, rows)).await.map(drop)
    }

    /// All rows of an answer, page by page, each within the deadline.
    async fn facts(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync + Send,
        profile: &str,
    ) -> Result<Vec<(Fact, Register)>> {
        let (mut found, mut page) = (Vec::new(), PagingState::start());
        loop {
            let (answer, next) = self.request(self.session.execute_single_page(statement, &values, page)).await?;
            let rows = answer.into_rows_result().map_err(failed)?;
            for row in rows.rows::<Row>().map_err(failed)? {
                let Row { kind, key, register } = row.map_err(failed)?;
                let kind = u8::try_from(kind).unwrap_or_default();
                found.push((Fact::from_parts(profile, kind, key)?, Register::from_bytes(register.to_vec())?));
            }
            match next.into_paging_control_flow() {
                std::ops::ControlFlow::Continue(state) => page = state,
                std::ops::ControlFlow::Break(()) => return Ok(found),
            }
        }
    }
}

#[derive(DeserializeRow)]
struct Row<'a> {
    kind: i8,
    key: &'a str,
    register: &'a [u8],
}

fn partition(profile: Option<&ProfileId>) -> &str {
    profile.map_or("", ProfileId::as_str)
}

/// A stamp of which Cassandra has no time becomes its last one: among such the greater bytes win, as everywhere.
fn timestamp(stamp: Stamp) -> i64 {
    i64::try_from(stamp.0).unwrap_or(i64::MAX)
}
