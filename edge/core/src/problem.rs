//! Errors as devices see them: RFC 9457 problem+json with a stable `code`.

use http::{HeaderValue, StatusCode, header};
use playhead_shared::time::Millis;
use serde::Serialize;

use crate::answer::{Response, json_answer};
use crate::views::StreamView;

/// The stable codes. What a device does about each is in the README's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is its own word; the table in README.md says what it means
pub enum Code {
    Malformed,
    TooMany,
    BadId,
    BadCursor,
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    ClockSkew,
    StreamLimit,
    TooLarge,
    UnsupportedMediaType,
    InFuture,
    TooOld,
    Unavailable,
}

impl Code {
    fn status_and_word(self) -> (StatusCode, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
            Self::TooMany => (StatusCode::BAD_REQUEST, "too_many"),
            Self::BadId => (StatusCode::BAD_REQUEST, "bad_id"),
            Self::BadCursor => (StatusCode::BAD_REQUEST, "bad_cursor"),
            Self::InFuture => (StatusCode::BAD_REQUEST, "in_future"),
            Self::TooOld => (StatusCode::BAD_REQUEST, "too_old"),
            Self::TokenMissing => (StatusCode::UNAUTHORIZED, "token_missing"),
            Self::TokenInvalid => (StatusCode::UNAUTHORIZED, "token_invalid"),
            Self::TokenExpired => (StatusCode::UNAUTHORIZED, "token_expired"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::ClockSkew => (StatusCode::CONFLICT, "clock_skew"),
            Self::StreamLimit => (StatusCode::CONFLICT, "stream_limit"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }
}

/// An error on its way to a device.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    allow: Option<&'static str>,
    more: More,
}

/// The members that some problems have beside those of RFC 9457.
#[derive(Clone, Debug, Default, Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    server_time: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflicts: Option<Vec<StreamView>>,
}

#[derive(Serialize)]
struct Body {
    r#type: String,
    title: String,
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(flatten)]
    more: More,
}

impl Problem {
    /// A problem; `detail` is for the device's developer and never holds anything internal.
    pub fn new(code: Code, detail: impl ToString) -> Self {
        Self { code, detail: detail.to_string(), allow: None, more: More::default() }
    }

    /// What this edge cannot do now; try again.
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "this edge cannot take it now: try again")
    }

    /// The device's clock is off: here is the time.
    pub fn clock_skew(now: Millis) -> Self {
        let problem = Self::new(Code::ClockSkew, "sent_at is off: anchor your clock to server_time and send again");
        Self { more: More { server_time: Some(now), ..More::default() }, ..problem }
    }

    /// The account plays on as many devices as it may: here they are.
    pub(crate) fn stream_limit(limit: u32, conflicts: Vec<StreamView>, now: Millis) -> Self {
        let problem = Self::new(Code::StreamLimit, "the account plays on as many devices as it may");
        Self { more: More { server_time: Some(now), limit: Some(limit), conflicts: Some(conflicts) }, ..problem }
    }

    /// The path exists, for other methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(Code::MethodNotAllowed, format!("this path takes {allow}"));
        Self { allow: Some(allow), ..problem }
    }

    /// The answer.
    pub fn into_response(self) -> Response {
        let (status, code) = self.code.status_and_word();
        let body = Body {
            r#type: format!("urn:playhead:problem:{code}"),
            title: code.replace('_', " "),
            status: status.as_u16(),
            code,
            detail: self.detail,
            more: self.more,
        };
        let mut response = json_answer(status, &body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
