//! Requests and answers as plain data, and the few shapes that answers have.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use playhead_shared::time::Millis;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A request whose body has been read.
pub type Request = http::Request<Vec<u8>>;
/// An answer whose body is whole: shells send it with its length.
pub type Response = http::Response<Vec<u8>>;

/// An answer without a body.
pub fn empty_answer(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// An answer in JSON that nobody may keep.
pub fn json_answer(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = empty_answer(status);
    // Serialising plain data into memory cannot fail; an empty body would only show a bug plainly.
    *response.body_mut() = serde_json::to_vec(body).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A read in JSON, which its device may keep and ask again with `If-None-Match`. The time in it is no part of what
/// is compared.
pub fn read_answer(asked: &HeaderMap, server_time: Millis, body: impl Serialize) -> Response {
    #[derive(Serialize)]
    struct Timed<B> {
        #[serde(flatten)]
        body: B,
        server_time: Millis,
    }
    let etag = etag_of(&serde_json::to_vec(&body).unwrap_or_default());
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let unchanged = known.split(',').any(|one| one.trim().trim_start_matches("W/") == etag);
    let mut response = if unchanged {
        empty_answer(StatusCode::NOT_MODIFIED)
    } else {
        json_answer(StatusCode::OK, &Timed { body, server_time })
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.append(header::VARY, HeaderValue::from_static("Authorization"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

fn etag_of(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("\"{}\"", hex(&digest[..12]))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}
