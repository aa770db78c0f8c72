//! The component's own requests: only to the origins that were allowed, as Spin's `allowed_outbound_hosts` does.
//!
//! Plain HTTP only, one connection a request: it serves an origin on the same machine, and TLS would double what
//! there is to compile.

use std::str::FromStr;
use std::sync::Arc;

use ::http::uri::{PathAndQuery, Scheme, Uri};
use ::http::{Request, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Host and port of a server that speaks plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `uri`, if it is an absolute one of plain HTTP.
    fn of(uri: &Uri) -> Option<Self> {
        if uri.scheme() != Some(&Scheme::HTTP) {
            return None;
        }
        let host = uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
        Some(Self { host, port: uri.port_u16().unwrap_or(80) })
    }
}

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = text.parse::<Uri>().ok().filter(|uri| matches!(uri.path(), "" | "/"));
        uri.as_ref().and_then(Self::of).ok_or("expected http://HOST:PORT")
    }
}

/// Which origins an instance may send requests to.
pub(crate) struct Outbound(pub(crate) Arc<[Origin]>);

type Job<T> = Box<dyn Future<Output = Result<T, Error>> + Send>;

impl WasiHttpHooks for Outbound {
    /// Timeouts that the component asks for are not minded: Playhead's own races the answer against its clock.
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Job<()>,
    ) -> Job<(Response<WasiBody>, Job<()>)> {
        match Origin::of(request.uri()).filter(|origin| self.0.contains(origin)) {
            Some(origin) => Box::new(send(origin, request)),
            None => {
                eprintln!("refused a request to {}: it is not an allowed origin", request.uri());
                Box::new(async { Err(Error::HttpRequestDenied) })
            }
        }
    }
}

async fn send(origin: Origin, mut request: Request<WasiBody>) -> Result<(Response<WasiBody>, Job<()>), Error> {
    let stream = TcpStream::connect((origin.host.as_str(), origin.port)).await.map_err(Error::Connect)?;
    stream.set_nodelay(true).map_err(Error::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the answer is read or dropped; what goes wrong on it shows in the answer.
    tokio::spawn(connection);
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    let response = sender.send_request(request).await?;
    let sent: Job<()> = Box::new(async { Ok(()) });
    Ok((response.map(|body| body.map_err(Error::from).boxed_unsync()), sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let check = |one: &str, other: &str| one.parse() == Ok(Origin::of(&other.parse().unwrap()).unwrap());
        assert!(check("http://127.0.0.1:8790", "http://127.0.0.1:8790/v1/batches?x=y"));
        assert!(check("http://Origin.example/", "http://origin.example:80/"));
        assert!(check("http://[::1]:8790", "http://[::1]:8790/"));
        assert!(!check("http://127.0.0.1:8790", "http://127.0.0.1:8791/"));
        assert!(!check("http://127.0.0.1:8790", "http://127.0.0.2:8790/"));
        assert!(!check("http://127.0.0.1:8790", "http://127.0.0.1:8790@elsewhere.example/"));
    }

    #[test]
    fn an_allowed_origin_has_no_path() {
        for text in ["127.0.0.1:8790", "http://127.0.0.1/v1", "https://127.0.0.1", "", "/"] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
