//! The platform's requests and responses to and from the `http` crate's, which the core speaks.
//!
//! The conversions that come with `worker` panic on a header that is not ASCII, which any client can send, and a
//! panic resets every object of the instance. Hence these, which pass such a header by.

use futures_util::StreamExt;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, IF_NONE_MATCH, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue};
use worker::{Headers, Request, Response, ResponseBuilder, Result};

/// How many times the limit a body may be long and still be read to its end, if only to be thrown away: a client whose
/// connection breaks while it is sending never sees why.
const PATIENCE: usize = 8;

/// What a request says before its body, as far as `names` asks for it.
pub(crate) fn head_in(request: &Request, names: &[HeaderName]) -> Result<http::request::Parts> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = http::Method::from_bytes(request.inner().method().as_bytes()).map_err(in_words)?;
    head.uri = request.inner().url().parse().map_err(in_words)?;
    head.headers = headers_in(request.headers(), names);
    Ok(head)
}

/// Reads a whole request. Of a body longer than `limit` bytes just enough is kept for its length to tell so, because
/// what a client sends must not fill the instance's memory.
pub(crate) async fn request_in(mut request: Request, limit: usize) -> Result<http::Request<Vec<u8>>> {
    let body = body_in(&mut request, limit).await?;
    Ok(http::Request::from_parts(head_in(&request, &BEHIND_IT)?, body))
}

/// A response to be sent to the device. An empty body goes out as none: the platform refuses even zero bytes with
/// a 204 or a 304.
pub(crate) fn response_out(response: http::Response<Vec<u8>>) -> Result<Response> {
    let (parts, body) = response.into_parts();
    let builder = ResponseBuilder::new().with_status(parts.status.as_u16()).with_headers(headers_out(&parts.headers)?);
    Ok(if body.is_empty() { builder.empty() } else { builder.fixed(body) })
}

/// Reads a body as far as [`request_in`] says.
pub(crate) async fn body_in(request: &mut Request, limit: usize) -> Result<Vec<u8>> {
    let declared = request.headers().get(CONTENT_LENGTH.as_str())?.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length <= limit) {
        return request.bytes().await;
    }
    if request.inner().body().is_none() {
        return Ok(Vec::new());
    }
    let (mut stream, mut body, mut seen) = (request.stream()?, Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        seen += chunk.len();
        let room = (limit + 1).saturating_sub(body.len());
        body.extend_from_slice(&chunk[..room.min(chunk.len())]);
        if seen > PATIENCE * limit {
            break;
        }
    }
    Ok(body)
}

/// Of all headers those that the door asks for …
pub(crate) static AT_THE_DOOR: [HeaderName; 2] = [AUTHORIZATION, ORIGIN];
/// … and those that the routes behind it do as well. Any others are nothing to the core: each costs a call out of WebAssembly,
/// and code that can read every name there is would be a twentieth of the bundle.
pub(crate) static BEHIND_IT: [HeaderName; 5] = [AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, IF_NONE_MATCH, ORIGIN];

fn headers_in(headers: &Headers, names: &[HeaderName]) -> HeaderMap {
    let value = |name: &HeaderName| HeaderValue::from_str(&headers.get(name.as_str()).ok()??).ok();
    names.iter().filter_map(|name| value(name).map(|value| (name.clone(), value))).collect()
}

fn headers_out(headers: &HeaderMap) -> Result<Headers> {
    let converted = Headers::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            converted.append(name.as_str(), value)?;
        }
    }
    Ok(converted)
}

fn in_words(error: impl std::error::Error) -> worker::Error {
    worker::Error::RustError(error.to_string())
}
