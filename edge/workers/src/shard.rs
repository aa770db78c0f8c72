//! The Durable Object.

#![allow(missing_docs, reason = "the macro writes public methods that nobody can document, nor calls from Rust")]

use std::rc::Rc;

use futures_util::lock::Mutex;
use http::StatusCode;
use playhead_edge::Edge;
use playhead_edge::answer::empty_answer;
use playhead_edge::door::{self, LARGEST_BODY};
use playhead_edge::held::journal::Journal;
use playhead_edge::host::Host;
use playhead_edge::problem::Problem;
use playhead_edge::token::viewer_of_line;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::host::ObjectHost;
use crate::sql::ObjectSql;
use crate::{ROWS_WRITTEN, VIEWER, config, convert};

type ShardEdge = Edge<ObjectHost, Journal<ObjectHost, ObjectSql>>;

/// One shard of the accounts of a region: an actor that holds what the devices of its accounts have sent.
#[durable_object(alarm)]
pub struct Shard {
    host: ObjectHost,
    env: Env,
    /// Opened by the first request or alarm, which reads the journal back.
    edge: Mutex<Option<Rc<ShardEdge>>>,
}

impl DurableObject for Shard {
    fn new(state: State, env: Env) -> Shard {
        Shard { host: ObjectHost::new(state, &env), env, edge: Mutex::new(None) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let request = convert::request_in(request, LARGEST_BODY).await?;
        let edge = match self.edge().await {
            Ok(edge) => edge,
            Err(fault) => {
                self.host.log(&fault);
                return convert::response_out(Problem::unavailable().into_response());
            }
        };
        let viewer = request.headers().get(VIEWER).and_then(|value| viewer_of_line(value.to_str().ok()?));
        let Some(viewer) = viewer else {
            edge.flush().await;
            let mut flushed = convert::response_out(empty_answer(StatusCode::NO_CONTENT))?;
            flushed.headers_mut().set(ROWS_WRITTEN.as_str(), &self.host.rows_written().to_string())?;
            return Ok(flushed);
        };
        let mut response = match door::route(request.method(), request.uri().path()) {
            Ok(route) => edge.serve(route, &viewer, &request).await,
            Err(problem) => problem.into_response(),
        };
        door::open_to_browsers(edge.config(), request.headers(), &mut response);
        edge.schedule(false).await;
        convert::response_out(response)
    }

    /// Never fails: the runtime drops an alarm that failed six times.
    async fn alarm(&self) -> Result<Response> {
        let work = async {
            match self.edge().await {
                Ok(edge) => drop(edge.flush().await),
                Err(fault) => self.host.log(&fault),
            }
        };
        self.host.ring(work).await;
        Response::empty()
    }
}

impl Shard {
    async fn edge(&self) -> std::result::Result<Rc<ShardEdge>, String> {
        let mut slot = self.edge.lock().await;
        if let Some(edge) = &*slot {
            return Ok(Rc::clone(edge));
        }
        let config = config(&self.env).map_err(|bad| bad.to_string())?;
        let journal = Journal::open(self.host.clone(), self.host.sql()).await.map_err(|error| error.to_string())?;
        let edge = Edge::new(self.host.clone(), journal, config);
        *slot = Some(Rc::clone(&edge));
        Ok(edge)
    }
}
