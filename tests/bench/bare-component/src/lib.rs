//! What the Spin edge is measured beside: a component that writes one row for each `POST /upsert/SESSION`, and nothing more.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use spin_sdk::http::{FullBody, Request};
use spin_sdk::http_service;
use spin_sdk::sqlite::{Connection, Error, Value};

/// As long as a session's register is.
const BLOB_BYTES: usize = 150;

thread_local! {
    static DATABASE: RefCell<Option<Rc<Connection>>> = const { RefCell::new(None) };
}

#[http_service]
async fn handle(request: Request) -> Response<FullBody<Bytes>> {
    if request.method() == Method::GET {
        return answer(StatusCode::NO_CONTENT, "");
    }
    match upsert(request).await {
        Ok(()) => answer(StatusCode::ACCEPTED, r#"{"accepted":1,"rejected":[]}"#),
        Err(error) => {
            eprintln!("{error}");
            answer(StatusCode::SERVICE_UNAVAILABLE, "")
        }
    }
}

async fn upsert(request: Request) -> Result<(), String> {
    let session = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
    // The end of a heartbeat is what changes.
    let kept = body.slice(body.len().saturating_sub(BLOB_BYTES)..);
    let database = database().await.map_err(|error| error.to_string())?;
    let statement = "INSERT INTO kept (session, body) VALUES (?1, ?2)
                     ON CONFLICT (session) DO UPDATE SET body = excluded.body";
    let values = [Value::Text(session), Value::Blob(kept.into())];
    let done = async { database.execute(statement, values).await?.result().await };
    done.await.map_err(|error: Error| error.to_string())
}

async fn database() -> Result<Rc<Connection>, Error> {
    if let Some(database) = DATABASE.with_borrow(Clone::clone) {
        return Ok(database);
    }
    let database = Rc::new(Connection::open_default().await?);
    let table = "CREATE TABLE IF NOT EXISTS kept (session TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID";
    database.execute(table, []).await?.result().await?;
    DATABASE.set(Some(Rc::clone(&database)));
    Ok(database)
}

fn answer(status: StatusCode, body: &'static str) -> Response<FullBody<Bytes>> {
    let mut response = Response::new(FullBody::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    }
    response
}
