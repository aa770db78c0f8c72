//! The server: HTTP/1.1 in, the component's answers out.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use ::http::header::HOST;
use ::http::uri::{Authority, Scheme, Uri};
use ::http::{Request, Response, StatusCode};
use anyhow::Result;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

use crate::component::Loaded;

/// How long a stop waits for requests, and for what the component does after them.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How long to wait when a connection cannot be accepted, out of file descriptors for one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves until `stop` is ready, then lets end what has begun.
pub(crate) async fn run(listener: TcpListener, component: Loaded, stop: impl Future<Output = ()>) -> Result<()> {
    let handler = ProxyHandler::new(component);
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.as_mut() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                handler.state().running.spawn(connection(stream, handler.clone()));
            }
            Err(error) => {
                eprintln!("cannot accept a connection: {error}");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    let Loaded { stop, running, .. } = handler.state();
    stop.cancel();
    running.close();
    if timeout(STOP_MAX, running.wait()).await.is_err() {
        eprintln!("stopped with {} connections and instances still at work", running.len());
    }
    Ok(())
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, handler: ProxyHandler<Loaded>) {
    // An answer is two small writes, head and body; Nagle would hold the second back for the peer's ACK.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stop = handler.state().stop.clone();
    let service = service_fn(|request| answer(request, &handler));
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // Clients go away as they like; only what the component did wrong is worth a line.
    if let Err(error) = end
        && error.is_user()
    {
        eprintln!("an answer broke off: {error}");
    }
}

async fn answer(request: Request<Incoming>, handler: &ProxyHandler<Loaded>) -> Result<Response<WasiBody>, Infallible> {
    let Some(request) = absolute(request) else { return Ok(plain(StatusCode::BAD_REQUEST)) };
    Ok(handler.handle((), request).await.unwrap_or_else(|error| {
        eprintln!("a request failed: {error:#}");
        plain(StatusCode::INTERNAL_SERVER_ERROR)
    }))
}

/// The request as components expect it: its URI names scheme and host.
fn absolute(request: Request<Incoming>) -> Option<Request<WasiBody>> {
    let (mut head, body) = request.into_parts();
    let mut uri = head.uri.into_parts();
    let host = head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    uri.authority = uri.authority.or(host).or(Some(Authority::from_static("localhost")));
    uri.scheme = Some(Scheme::HTTP);
    head.uri = Uri::from_parts(uri).ok()?;
    Some(Request::from_parts(head, body.map_err(Into::into).boxed_unsync()))
}

fn plain(status: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}
