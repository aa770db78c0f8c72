//! `spin:sqlite`: the database `default`, and no other.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{ErrorCode, ToSql, params_from_iter};
use tokio::task::spawn_blocking;
use wasmtime::component::{Accessor, FutureReader, HasData, Resource, ResourceTable, ResourceTableError, StreamReader};

use crate::bindings::spin::sqlite::sqlite::{
    Error, Host, HostConnection, HostConnectionWithStore, QueryResult, RowResult, Value,
};
use crate::pool::{Lent, Pool};

/// What a connection of the component stands for. As in Spin it is one connection of SQLite, so that
/// `changes` and `last-insert-rowid` mean what they say; its statements run one after another.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Connection(Arc<Mutex<Lent>>);

/// Names the part of an instance's state that this interface works on.
pub(crate) struct Sqlite;

impl HasData for Sqlite {
    type Data<'a> = View<'a>;
}

/// The part of an instance's state that this interface works on.
pub(crate) struct View<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) table: &'a mut ResourceTable,
}

impl View<'_> {
    fn connection(&self, handle: &Resource<Connection>) -> Result<Connection, ResourceTableError> {
        self.table.get(handle).cloned()
    }
}

impl Host for View<'_> {}

/// The blocking calls of older components, beside the ones that WASI 0.3 made possible.
impl HostConnection for View<'_> {
    async fn open(&mut self, database: String) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        match open(self.pool.clone(), database).await? {
            Ok(connection) => Ok(Ok(self.table.push(connection)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn execute(
        &mut self,
        handle: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<QueryResult, Error>> {
        let connection = self.connection(&handle)?;
        on(connection, move |lent| execute(lent, &statement, &parameters)).await
    }

    async fn last_insert_rowid(&mut self, handle: Resource<Connection>) -> wasmtime::Result<i64> {
        on(self.connection(&handle)?, last_insert_rowid).await
    }

    async fn changes(&mut self, handle: Resource<Connection>) -> wasmtime::Result<u64> {
        on(self.connection(&handle)?, changes).await
    }

    async fn drop(&mut self, handle: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl<T: 'static> HostConnectionWithStore<T> for Sqlite {
    async fn open_async(
        store: &Accessor<T, Self>,
        database: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, Error>> {
        let pool = store.with(|mut access| access.get().pool.clone());
        match open(pool, database).await? {
            Ok(connection) => Ok(Ok(store.with(|mut access| access.get().table.push(connection))?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn execute_async(
        store: &Accessor<T, Self>,
        handle: Resource<Connection>,
        statement: String,
        parameters: Vec<Value>,
    ) -> wasmtime::Result<Result<Rows, Error>> {
        let connection = connection(store, &handle)?;
        let result = on(connection, move |lent| execute(lent, &statement, &parameters)).await?;
        let QueryResult { columns, rows } = match result {
            Ok(result) => result,
            Err(error) => return Ok(Err(error)),
        };
        // All rows are here already, so the stream cannot fail any more.
        store.with(|mut access| {
            let rows = StreamReader::new(&mut access, rows)?;
            let end = FutureReader::new(&mut access, async { wasmtime::error::Ok(Ok(())) })?;
            Ok(Ok((columns, rows, end)))
        })
    }

    async fn last_insert_rowid_async(store: &Accessor<T, Self>, handle: Resource<Connection>) -> wasmtime::Result<i64> {
        on(connection(store, &handle)?, last_insert_rowid).await
    }

    async fn changes_async(store: &Accessor<T, Self>, handle: Resource<Connection>) -> wasmtime::Result<u64> {
        on(connection(store, &handle)?, changes).await
    }
}

/// Names of columns, rows, and whether all rows came.
type Rows = (Vec<String>, StreamReader<RowResult>, FutureReader<Result<(), Error>>);

fn connection<T: 'static>(
    store: &Accessor<T, Sqlite>,
    handle: &Resource<Connection>,
) -> Result<Connection, ResourceTableError> {
    store.with(|mut access| access.get().connection(handle))
}

async fn open(pool: Pool, database: String) -> wasmtime::Result<Result<Connection, Error>> {
    if database != "default" {
        return Ok(Err(Error::AccessDenied));
    }
    let lent = spawn_blocking(move || pool.take()).await?;
    Ok(lent.map(|lent| Connection(Arc::new(Mutex::new(lent)))).map_err(fault))
}

/// Runs `work` where it may wait for the disk, when the connection's earlier statements are done.
async fn on<R: Send + 'static>(
    connection: Connection,
    work: impl FnOnce(&Lent) -> R + Send + 'static,
) -> wasmtime::Result<R> {
    // A statement that panicked has left nothing half done that SQLite would not roll back.
    let run = move || work(&connection.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(spawn_blocking(run).await?)
}

fn last_insert_rowid(lent: &Lent) -> i64 {
    lent.connection().last_insert_rowid()
}

fn changes(lent: &Lent) -> u64 {
    lent.connection().changes()
}

fn execute(lent: &Lent, statement: &str, parameters: &[Value]) -> Result<QueryResult, Error> {
    let mut statement = lent.connection().prepare_cached(statement).map_err(fault)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let width = columns.len();
    let mut found = statement.query(params_from_iter(parameters)).map_err(fault)?;
    let mut rows = Vec::new();
    while let Some(row) = found.next().map_err(fault)? {
        let values = (0..width).map(|column| value(row.get_ref(column).map_err(fault)?));
        rows.push(RowResult { values: values.collect::<Result<_, Error>>()? });
    }
    Ok(QueryResult { columns, rows })
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Integer(integer) => ToSqlOutput::Owned(SqlValue::Integer(*integer)),
            Self::Real(real) => ToSqlOutput::Owned(SqlValue::Real(*real)),
            Self::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Null => ToSqlOutput::Owned(SqlValue::Null),
        })
    }
}

fn value(value: ValueRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(integer) => Value::Integer(integer),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(text) => {
            Value::Text(String::from_utf8(text.to_vec()).map_err(|error| Error::Io(error.to_string()))?)
        }
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    })
}

fn fault(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Error::DatabaseFull,
        _ => Error::Io(error.to_string()),
    }
}
