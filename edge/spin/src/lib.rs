//! The Spin shell of the Playhead edge: converts, calls the core, converts.

mod host;
mod sql;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use playhead_edge::Edge;
use playhead_edge::config::Config;
use playhead_edge::door::LARGEST_BODY;
use playhead_edge::held::rows::Rows;
use playhead_edge::problem::Problem;
use spin_sdk::http::FullBody;
use spin_sdk::http_service;

use crate::host::{SpinHost, variable};
use crate::sql::SpinSql;

type SpinEdge = Edge<SpinHost, Rows<SpinSql>>;

thread_local! {
    /// What an instance makes once, for the up to 128 requests that it serves.
    static EDGE: RefCell<Option<Rc<SpinEdge>>> = const { RefCell::new(None) };
}

async fn edge() -> Result<Rc<SpinEdge>, String> {
    if let Some(edge) = EDGE.with_borrow(Clone::clone) {
        return Ok(edge);
    }
    // Requests that come at once may each get here; the last one's stays, and the others' serve their request.
    let mut settings = HashMap::new();
    for name in Config::SETTINGS {
        settings.insert(name, variable(name).await?);
    }
    let config = Config::from_settings(|name| settings.get(name).cloned()).map_err(|bad| bad.to_string())?;
    let rows = Rows::open(SpinSql::open().await.map_err(|error| error.to_string())?);
    let held = rows.await.map_err(|error| error.to_string())?;
    let edge = Edge::new(SpinHost::from_variables().await?, held, config);
    EDGE.set(Some(Rc::clone(&edge)));
    Ok(edge)
}

#[http_service]
async fn handle(request: spin_sdk::http::Request) -> Response<FullBody<Bytes>> {
    let edge = match edge().await {
        Ok(edge) => edge,
        Err(fault) => {
            eprintln!("this edge cannot start: {fault}");
            return with_length(Problem::unavailable().into_response());
        }
    };
    let (head, body) = request.into_parts();
    let body = read(body).await;
    let response = edge.answer(Request::from_parts(head, body)).await;
    edge.schedule(true).await;
    with_length(response)
}

/// Reads a body. Of one that is too long just enough is kept for its length to tell so, but most of it is read: a
/// client whose connection breaks while it is sending never sees why. One that breaks off itself is no JSON any more.
async fn read(body: impl Body<Data = Bytes>) -> Vec<u8> {
    const PATIENCE: usize = 8;
    let mut body = std::pin::pin!(body);
    let (mut kept, mut seen) = (Vec::new(), 0);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(chunk) = frame.into_data() else { continue };
        seen += chunk.len();
        let room = (LARGEST_BODY + 1).saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..room.min(chunk.len())]);
        if seen > PATIENCE * LARGEST_BODY {
            break;
        }
    }
    kept
}

/// With a length: a chunked answer costs 40 ms on a connection that is kept alive (delayed ACK).
fn with_length(response: Response<Vec<u8>>) -> Response<FullBody<Bytes>> {
    let (mut head, body) = response.into_parts();
    if head.status != StatusCode::NO_CONTENT && head.status != StatusCode::NOT_MODIFIED {
        head.headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Response::from_parts(head, FullBody::new(Bytes::from(body)))
}
