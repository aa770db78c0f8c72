//! The node's SQLite database `default`, which all instances of the component share.

use std::rc::Rc;

use playhead_edge::host::{Sql, SqlError, Value};
use spin_sdk::sqlite::{Connection, Error, Value as SpinValue};

/// One connection, for one instance of the component: opening one takes longer than most statements.
#[derive(Clone)]
pub(crate) struct SpinSql(Rc<Connection>);

impl SpinSql {
    /// Opens the database.
    ///
    /// # Errors
    /// If `spin.toml` does not grant it, or the disk fails.
    pub(crate) async fn open() -> Result<Self, SqlError> {
        let connection = Connection::open_default().await.map_err(fault)?;
        Ok(Self(Rc::new(connection)))
    }
}

impl Sql for SpinSql {
    async fn run(&self, statement: &str, params: Vec<Value>) -> Result<Vec<Vec<Value>>, SqlError> {
        let found = self.0.execute(statement, params.into_iter().map(to_spin)).await.map_err(fault)?;
        let rows = found.collect().await.map_err(fault)?;
        rows.into_iter().map(|row| row.values.into_iter().map(from_spin).collect()).collect()
    }
}

fn to_spin(value: Value) -> SpinValue {
    match value {
        Value::Null => SpinValue::Null,
        Value::Integer(integer) => SpinValue::Integer(integer),
        Value::Text(text) => SpinValue::Text(text),
        Value::Blob(bytes) => SpinValue::Blob(bytes),
    }
}

fn from_spin(value: SpinValue) -> Result<Value, SqlError> {
    match value {
        SpinValue::Null => Ok(Value::Null),
        SpinValue::Integer(integer) => Ok(Value::Integer(integer)),
        SpinValue::Text(text) => Ok(Value::Text(text)),
        SpinValue::Blob(bytes) => Ok(Value::Blob(bytes)),
        SpinValue::Real(real) => Err(SqlError(format!("a statement returned the real number {real}"))),
    }
}

fn fault(error: Error) -> SqlError {
    SqlError(error.to_string())
}
