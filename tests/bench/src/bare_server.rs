//! A server that reads one key and answers its value, and nothing more: hyper over fjall.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bytes::Bytes;
use clap::Args;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The keyspace that it reads.
pub(crate) const KEYSPACE: &str = "registers";
/// Memory for reads, as the origin has by default.
pub(crate) const CACHE_BYTES: u64 = 256 << 20;

/// Its arguments.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    data: PathBuf,
}

/// Serves until it is killed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let database = Database::builder(&options.data).cache_size(CACHE_BYTES).open()?;
    let registers = database.keyspace(KEYSPACE, KeyspaceCreateOptions::default)?;
    let runtime = tokio::runtime::Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.listen).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let registers = registers.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| answer(&registers, request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                // A client that went away is no failure.
                let _ = connection.await;
            });
        }
    })
}

/// The body is the key; what cannot be read or is not there is answered empty, which voids the measurement.
async fn answer(registers: &Keyspace, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let value = registers.get(&body).ok().flatten();
    Ok(Response::new(Full::new(value.map(|value| Bytes::copy_from_slice(&value)).unwrap_or_default())))
}
