//! [`Sql`] over the SQLite database of one Durable Object.

use std::cell::Cell;
use std::rc::Rc;

use playhead_edge::host::{Sql, SqlError, Value};
use worker::{SqlStorage, SqlStorageValue};

/// The object's database. The runtime's output gate makes a change durable before any answer or outbound call
/// that follows it leaves the object, which is just what [`Sql::run`] promises.
#[derive(Clone)]
pub(crate) struct ObjectSql {
    storage: SqlStorage,
    rows_written: Rc<Cell<u64>>,
}

impl ObjectSql {
    /// Adds every row that it writes to `rows_written`.
    pub(crate) fn new(storage: SqlStorage, rows_written: Rc<Cell<u64>>) -> ObjectSql {
        ObjectSql { storage, rows_written }
    }

    fn run_now(&self, statement: &str, params: Vec<Value>) -> worker::Result<Vec<Vec<Value>>> {
        let params = params.into_iter().map(into_storage).collect::<worker::Result<Vec<_>>>()?;
        let cursor = self.storage.exec(statement, params)?;
        let rows = cursor.raw().map(|row| row?.into_iter().map(from_storage).collect()).collect();
        // Only a cursor that was read to its end has counted all of its rows.
        self.rows_written.set(self.rows_written.get() + cursor.rows_written() as u64);
        rows
    }
}

impl Sql for ObjectSql {
    async fn run(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, SqlError> {
        self.run_now(statement, params).map_err(|error| SqlError(error.to_string()))
    }
}

fn into_storage(value: Value) -> worker::Result<SqlStorageValue> {
    Ok(match value {
        Value::Null => SqlStorageValue::Null,
        Value::Integer(integer) => SqlStorageValue::try_from_i64(integer)?,
        Value::Text(text) => SqlStorageValue::String(text),
        Value::Blob(bytes) => SqlStorageValue::Blob(bytes),
    })
}

fn from_storage(value: SqlStorageValue) -> worker::Result<Value> {
    Ok(match value {
        SqlStorageValue::Null => Value::Null,
        SqlStorageValue::Boolean(boolean) => Value::Integer(boolean.into()),
        SqlStorageValue::Integer(integer) => Value::Integer(integer),
        SqlStorageValue::String(text) => Value::Text(text),
        SqlStorageValue::Blob(bytes) => Value::Blob(bytes),
        SqlStorageValue::Float(float) => return Err(format!("{float} is not an integer of 53 bits").into()),
    })
}
