//! One address for the roles of an origin that run as processes of their own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, RETRY_AFTER, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// How long an instance may take over taking a connection, and how long over its answer: longer than any of its own
/// deadlines.
const CONNECTING: Duration = Duration::from_secs(1);
const ANSWERING: Duration = Duration::from_secs(8);
/// As much as the origin itself would read.
const GREATEST_BODY: usize = 4 * 1024 * 1024;
/// How long to wait when a connection cannot be accepted, out of file descriptors for one.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// A small balancer, for tests and local runs: an edge knows one origin, whose roles are processes of their own.
///
/// In production any load balancer with two path rules does this: `/v1/batches` and `/v1/admissions` go to the
/// instances of collect, everything else to those of provide, to each in turn. One that cannot be reached, or breaks
/// off, is passed by for the next: whatever is asked of an origin may be asked twice. Where none answers, it is 503
/// with `Retry-After`. Ends when it is dropped.
#[derive(Debug)]
pub struct Front {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Listens on a free port, before instances at these URLs (`http://127.0.0.1:8791`); they need not be there yet.
    pub fn start(collect: &[String], provide: &[String]) -> Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], crate::free_port())), collect, provide)
    }

    /// The same at a given address.
    pub fn start_at(address: SocketAddr, collect: &[String], provide: &[String]) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listening = runtime.block_on(TcpListener::bind(address));
        let listener = listening.with_context(|| format!("the front cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECTING));
        let rules = Arc::new(Rules {
            collect: Instances { urls: collect.to_vec(), next: AtomicUsize::new(0) },
            provide: Instances { urls: provide.to_vec(), next: AtomicUsize::new(0) },
            client: Client::builder(TokioExecutor::new()).build(connector),
        });
        let (stop, stopped) = oneshot::channel();
        // A thread of its own: it is started, and ended, from within other runtimes, too.
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve(&listener, &rules) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Its base URL, without a slash at the end: an edge's `origin_url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Rules {
    collect: Instances,
    provide: Instances,
    client: Client<HttpConnector, Full<Bytes>>,
}

struct Instances {
    urls: Vec<String>,
    /// Whose turn it is.
    next: AtomicUsize,
}

impl Instances {
    /// All of them, beginning with the one whose turn it is.
    fn in_turn(&self) -> impl Iterator<Item = &str> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.urls.len().max(1);
        self.urls[first..].iter().chain(&self.urls[..first]).map(String::as_str)
    }
}

async fn serve(listener: &TcpListener, rules: &Arc<Rules>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(rules)))),
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

async fn connection(stream: TcpStream, rules: Arc<Rules>) {
    // One that is gone already will be noticed below.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &rules));
    // Clients go away as they like.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

type Answer = Response<Either<Incoming, Full<Bytes>>>;

async fn answer(request: Request<Incoming>, rules: &Rules) -> Result<Answer, Infallible> {
    let (mut head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, GREATEST_BODY).collect().await else {
        return Ok(refusal(StatusCode::PAYLOAD_TOO_LARGE));
    };
    let body = body.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    // What is said of one connection, and not of the request.
    for name in [HOST, CONNECTION, TRANSFER_ENCODING, CONTENT_LENGTH] {
        head.headers.remove(name);
    }
    let instances = match head.uri.path() {
        "/v1/batches" | "/v1/admissions" => &rules.collect,
        _ => &rules.provide,
    };
    for url in instances.in_turn() {
        let Ok(uri) = format!("{url}{path}").parse() else { continue };
        let mut request = Request::new(Full::new(body.clone()));
        (*request.method_mut(), *request.uri_mut()) = (head.method.clone(), uri);
        request.headers_mut().clone_from(&head.headers);
        if let Ok(Ok(mut answer)) = timeout(ANSWERING, rules.client.request(request)).await {
            answer.headers_mut().remove(CONNECTION);
            return Ok(answer.map(Either::Left));
        }
    }
    Ok(refusal(StatusCode::SERVICE_UNAVAILABLE))
}

fn refusal(status: StatusCode) -> Answer {
    let mut answer = Response::new(Either::Right(Full::default()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
