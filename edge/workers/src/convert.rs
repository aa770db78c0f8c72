//! The platform's requests and responses to and from the `http` crate's, which the core speaks.
//!
//! The conversions that come with `worker` panic on a header that is not ASCII, which any client can send, and a
//! panic resets every object of the instance. Hence these, which pass such a header by.

use futures_util::StreamExt;
use http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use worker::js_sys::Uint8Array;
use worker::{Headers, Method, Request, RequestInit, RequestRedirect, Response, ResponseBuilder, Result};

/// How many times the limit a body may be long and still be read to its end, if only to be thrown away: a client whose
/// connection breaks while it is sending never sees why.
const PATIENCE: usize = 8;

/// Reads a whole request. Of a body longer than `limit` bytes just enough is kept for its length to tell so, because
/// what a client sends must not fill the instance's memory.
pub(crate) async fn request_in(mut request: Request, limit: usize) -> Result<http::Request<Vec<u8>>> {
    let body = body_in(&mut request, limit).await?;
    let mut converted = http::Request::new(body);
    *converted.method_mut() = http::Method::from_bytes(request.inner().method().as_bytes()).map_err(in_words)?;
    *converted.uri_mut() = request.inner().url().parse().map_err(in_words)?;
    *converted.headers_mut() = headers_in(request.headers());
    Ok(converted)
}

/// A request to be sent on to a Durable Object.
pub(crate) fn request_out(request: http::Request<Vec<u8>>) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let mut init = RequestInit::new();
    init.with_method(Method::from(parts.method.as_str().to_owned()))
        .with_headers(headers_out(&parts.headers)?)
        .with_redirect(RequestRedirect::Manual);
    // The platform refuses a body, even an empty one, on GET and HEAD.
    if !body.is_empty() {
        init.with_body(Some(Uint8Array::from(body.as_slice()).into()));
    }
    Request::new_with_init(&parts.uri.to_string(), &init)
}

/// A response to be sent to the device. An empty body goes out as none: the platform refuses even zero bytes with
/// a 204 or a 304.
pub(crate) fn response_out(response: http::Response<Vec<u8>>) -> Result<Response> {
    let (parts, body) = response.into_parts();
    let builder = ResponseBuilder::new().with_status(parts.status.as_u16()).with_headers(headers_out(&parts.headers)?);
    Ok(if body.is_empty() { builder.empty() } else { builder.fixed(body) })
}

/// A response of a Durable Object.
pub(crate) async fn response_in(mut response: Response) -> Result<http::Response<Vec<u8>>> {
    let mut converted = http::Response::new(response.bytes().await?);
    *converted.status_mut() = http::StatusCode::from_u16(response.status_code()).map_err(in_words)?;
    *converted.headers_mut() = headers_in(response.headers());
    Ok(converted)
}

async fn body_in(request: &mut Request, limit: usize) -> Result<Vec<u8>> {
    if request.inner().body().is_none() {
        return Ok(Vec::new());
    }
    let declared = request.headers().get(CONTENT_LENGTH.as_str())?.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length <= limit) {
        return request.bytes().await;
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

/// Of all headers those that the core asks for or answers with: any others are nothing to it, and code that can
/// read every name there is would be a twentieth of the bundle.
const READ: [HeaderName; 15] = [
    ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD,
    ALLOW,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    ETAG,
    IF_NONE_MATCH,
    ORIGIN,
    RETRY_AFTER,
    VARY,
    WWW_AUTHENTICATE,
    crate::VIEWER,
    crate::ROWS_WRITTEN,
];

fn headers_in(headers: &Headers) -> HeaderMap {
    let value = |name: &HeaderName| HeaderValue::from_str(&headers.get(name.as_str()).ok()??).ok();
    READ.into_iter().filter_map(|name| value(&name).map(|value| (name, value))).collect()
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
