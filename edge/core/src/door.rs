//! The door: which route a request takes, whether a browser may call, and who is asking. It needs no state, so
//! it can run before the request is sent on to whoever holds the account.

use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use playhead_shared::time::Millis;

use crate::answer::{Request, Response, empty_answer};
use crate::config::Config;
use crate::problem::{Code, Problem};
use crate::token::{Caller, bearer};

/// The largest body that a device may send, in bytes. A shell need not read on past it: one byte more is refused.
pub const LARGEST_BODY: usize = 256 * 1024;

/// What a request is for. Texts in it are as the path has them: not judged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the table of routes in README.md, one variant each
pub enum Route {
    Heartbeats,
    OpenSession(String),
    EndSession(String),
    Resume,
    ContinueWatching,
    History,
    Streams,
    MarkWatched(String),
    Hide(String),
    Forget(String),
    DeleteEntry(String),
}

/// Who stands at the door.
#[derive(Debug)]
pub enum Visitor {
    /// The request is answered already: refused, a preflight, or the state of health.
    Answered(Response),
    /// A device with a good token.
    Device(Route, Rc<Caller>),
    /// The operator's timer asks for a flush.
    Timer,
}

/// Judges a request, but for its body.
pub fn enter(config: &Config, request: &http::request::Parts, now: Millis) -> Visitor {
    match judge(config, request, now) {
        Ok(visitor) => visitor,
        Err(problem) => Visitor::Answered(problem.into_response()),
    }
}

fn judge(config: &Config, request: &http::request::Parts, now: Millis) -> Result<Visitor, Problem> {
    if request.method == Method::OPTIONS {
        return Ok(Visitor::Answered(preflight(config, &request.headers)));
    }
    let path = request.uri.path();
    if path == "/healthz" {
        return Ok(Visitor::Answered(empty_answer(StatusCode::NO_CONTENT)));
    }
    let authorization = request.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if path == "/internal/flush" {
        if request.method != Method::POST {
            return Err(Problem::method_not_allowed("POST"));
        }
        let shown = authorization.and_then(bearer).unwrap_or_default();
        let timer = config.service_token.is(shown);
        return if timer { Ok(Visitor::Timer) } else { Err(Problem::new(Code::TokenInvalid, "not the service token")) };
    }
    let route = route(&request.method, path)?;
    let caller = config.tokens.verify(authorization, now)?;
    Ok(Visitor::Device(route, caller))
}

/// The route of a path, or what is wrong with it.
pub fn route(method: &Method, path: &str) -> Result<Route, Problem> {
    let parts: Vec<&str> = path.strip_prefix("/v1/").unwrap_or_default().split('/').collect();
    let owned = |text: &str| text.to_owned();
    let (allow, found) = match parts[..] {
        ["heartbeats"] => ("POST", (method == Method::POST).then_some(Route::Heartbeats)),
        ["sessions", id] => (
            "PUT, DELETE",
            match *method {
                Method::PUT => Some(Route::OpenSession(owned(id))),
                Method::DELETE => Some(Route::EndSession(owned(id))),
                _ => None,
            },
        ),
        ["resume"] => ("GET", (method == Method::GET).then_some(Route::Resume)),
        ["continue-watching"] => ("GET", (method == Method::GET).then_some(Route::ContinueWatching)),
        ["history"] => ("GET", (method == Method::GET).then_some(Route::History)),
        ["history", id] => ("DELETE", (method == Method::DELETE).then(|| Route::DeleteEntry(owned(id)))),
        ["streams"] => ("GET", (method == Method::GET).then_some(Route::Streams)),
        ["titles", id] => ("DELETE", (method == Method::DELETE).then(|| Route::Forget(owned(id)))),
        ["titles", id, "watched"] => ("PUT", (method == Method::PUT).then(|| Route::MarkWatched(owned(id)))),
        ["titles", id, "hidden"] => ("PUT", (method == Method::PUT).then(|| Route::Hide(owned(id)))),
        _ => return Err(Problem::new(Code::NotFound, "there is no such path")),
    };
    found.ok_or_else(|| Problem::method_not_allowed(allow))
}

/// The JSON body of a request, judged by its headers and size first.
pub fn json_body(request: &Request) -> Result<&[u8], Problem> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType, "send application/json"));
    }
    if request.body().len() > LARGEST_BODY {
        return Err(too_large());
    }
    Ok(request.body())
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, format!("a body has {LARGEST_BODY} bytes at most: split it"))
}

fn preflight(config: &Config, asked: &HeaderMap) -> Response {
    let mut response = empty_answer(StatusCode::NO_CONTENT);
    if allowed_origin(config, asked).is_some() {
        let headers = response.headers_mut();
        let mut say = |name, value| headers.insert(name, HeaderValue::from_static(value));
        say(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE");
        say(header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, If-None-Match, Cache-Control");
        // Two hours is the most that Chromium keeps; others cut it to what they like.
        say(header::ACCESS_CONTROL_MAX_AGE, "7200");
    }
    response
}

/// Lets the browser's page read the answer, where its origin is allowed. Shells call it on every answer.
pub fn open_to_browsers(config: &Config, asked: &HeaderMap, response: &mut Response) {
    let any = config.allowed_origins.iter().any(|one| one == "*");
    let allowed = allowed_origin(config, asked);
    let headers = response.headers_mut();
    if !any {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("ETag, Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn allowed_origin(config: &Config, asked: &HeaderMap) -> Option<HeaderValue> {
    let origin = asked.get(header::ORIGIN)?;
    let any = config.allowed_origins.iter().any(|one| one == "*");
    let listed = config.allowed_origins.iter().any(|one| one.as_bytes() == origin.as_bytes());
    if any { Some(HeaderValue::from_static("*")) } else { listed.then(|| origin.clone()) }
}
