//! What the Workers edge is measured beside: a Worker that sends each request to the Durable Object of its account, which
//! writes one row (`/upsert/ACCOUNT/SESSION`) or none (`/nothing/ACCOUNT`), and nothing more.

#![allow(missing_docs, reason = "the macro writes public methods that nobody can document, nor calls from Rust")]

use sha2::{Digest, Sha256};
use worker::{Context, DurableObject, Env, Request, Response, Result, State, durable_object, event};

/// As long as a session's register is.
const BLOB_BYTES: usize = 150;

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let shards = env.var("SHARD_COUNT").ok().and_then(|count| count.to_string().parse().ok()).unwrap_or(8);
    let digest = Sha256::digest(request.path().split('/').nth(2).unwrap_or_default());
    let shard = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)) % shards;
    env.durable_object("SHARDS")?.get_by_name(&format!("local:{shard}"))?.fetch_with_request(request).await
}

#[durable_object]
pub struct Shard {
    state: State,
}

impl DurableObject for Shard {
    fn new(state: State, _env: Env) -> Shard {
        let table = "CREATE TABLE IF NOT EXISTS kept (session TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID";
        // Without its table the object fails at its first request, which is where it is seen.
        let _ = state.storage().sql().exec(table, None);
        Shard { state }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let path = request.path();
        // A body that is left unread closes the connection.
        let mut body = request.bytes().await?;
        if let Some(session) = path.strip_prefix("/upsert/").and_then(|rest| rest.split('/').nth(1)) {
            // The end of a heartbeat is what changes.
            body.drain(..body.len().saturating_sub(BLOB_BYTES));
            let upsert = "INSERT INTO kept (session, body) VALUES (?1, ?2)
                          ON CONFLICT (session) DO UPDATE SET body = excluded.body";
            self.state.storage().sql().exec(upsert, vec![session.into(), body.into()])?;
        }
        Ok(Response::ok(r#"{"accepted":1,"rejected":[]}"#)?.with_status(202))
    }
}
