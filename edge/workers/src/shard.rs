//! The Durable Object.

#![allow(missing_docs, reason = "the macro writes public methods that nobody can document, nor calls from Rust")]

use std::rc::Rc;

use futures_util::lock::Mutex;
use playhead_edge::Edge;
use playhead_edge::door::LARGEST_BODY;
use playhead_edge::held::journal::Journal;
use playhead_edge::host::Host;
use playhead_edge::problem::Problem;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::host::ObjectHost;
use crate::sql::ObjectSql;
use crate::{convert, settings};

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
        let response = edge.answer(request).await;
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
        let Some(settings) = settings(&self.env) else { return Err("a shard cannot start".to_owned()) };
        let journal = Journal::open(self.host.clone(), self.host.sql()).await.map_err(|error| error.to_string())?;
        let edge = Edge::new(self.host.clone(), journal, settings.config.clone());
        *slot = Some(Rc::clone(&edge));
        Ok(edge)
    }
}
