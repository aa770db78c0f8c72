//! The rim: HTTP in, HTTP out. Only here are status codes known.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, Collected, LengthLimitError, Limited};
use minicbor::{Decode, Encode};
use playhead_shared::rules::Rules;
use playhead_shared::wire::{self, Admission, Batch, Read};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::config::{Roles, Secret};
use crate::store::{Store, StoreError};
use crate::{clock, collect, provide};

/// The greatest body that is read: 500 registers are far below a tenth of it.
const GREATEST_BODY: usize = 4 * 1024 * 1024;
/// How much of bodies may be in memory at once, in KiB; what they are read into is a few times as much. Past it
/// requests are told to come again, whatever it is that holds up the ones before.
const BODIES_KIB: usize = 48 * 1024;
/// How long a body may take to arrive.
const ARRIVING: Duration = Duration::from_secs(10);

/// What every request needs.
pub struct App<S> {
    /// The backend.
    pub store: Arc<S>,
    /// Which roles this process has.
    pub roles: Roles,
    /// What an edge must present.
    pub service_token: Secret,
    /// The thresholds.
    pub rules: Rules,
    /// What is left of the memory for bodies, a permit a KiB.
    room: Semaphore,
}

impl<S: Store> App<S> {
    /// With nothing to do yet.
    pub fn new(store: Arc<S>, roles: Roles, service_token: Secret, rules: Rules) -> Self {
        Self { store, roles, service_token, rules, room: Semaphore::new(BODIES_KIB) }
    }
}

/// All routes. Those of a role that is off say so.
pub fn router<S: Store>(app: App<S>) -> Router {
    let Roles { collect, provide, .. } = app.roles;
    let off = || post(role_off).fallback(role_off);
    let routes = Router::new()
        .route(wire::BATCHES, if collect { post(batches::<S>).fallback(not_allowed) } else { off() })
        .route(wire::ADMISSIONS, if collect { post(admissions::<S>).fallback(not_allowed) } else { off() })
        .route(wire::READS, if provide { post(reads::<S>).fallback(not_allowed) } else { off() })
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz::<S>))
        .fallback(not_found);
    routes.with_state(Arc::new(app))
}

async fn batches<S: Store>(State(app): State<Arc<App<S>>>, request: Request) -> Result<Response, Problem> {
    let (batch, _room): (Batch, _) = app.open(request).await?;
    answer(&collect::batch(&*app.store, batch, clock::now()).await?)
}

async fn admissions<S: Store>(State(app): State<Arc<App<S>>>, request: Request) -> Result<Response, Problem> {
    let (admission, _room): (Admission, _) = app.open(request).await?;
    answer(&collect::admission(&*app.store, admission, clock::now()).await?)
}

async fn reads<S: Store>(State(app): State<Arc<App<S>>>, request: Request) -> Result<Response, Problem> {
    let (read, _room): (Read, _) = app.open(request).await?;
    answer(&provide::read(&*app.store, read, &app.rules, clock::now()).await?)
}

async fn readyz<S: Store>(State(app): State<Arc<App<S>>>) -> Result<&'static str, Problem> {
    app.store.ready(clock::now()).await?;
    Ok("ready\n")
}

async fn role_off() -> Problem {
    Problem::RoleOff
}

async fn not_found() -> Problem {
    Problem::NotFound
}

async fn not_allowed() -> Problem {
    Problem::MethodNotAllowed
}

impl<S> App<S> {
    /// Lets in who has the token, as long as there is room, and reads what they sent.
    async fn open<T: for<'b> Decode<'b, ()>>(&self, request: Request) -> Result<(T, SemaphorePermit<'_>), Problem> {
        if !self.has_token(&request) {
            return Err(Problem::TokenInvalid);
        }
        let declared = request.body().size_hint().upper().map_or(GREATEST_BODY, |bytes| bytes as usize);
        let kib = declared.min(GREATEST_BODY).div_ceil(1024) as u32;
        let room = self.room.try_acquire_many(kib.max(1)).map_err(|_| Problem::Unavailable)?;
        let body = timeout(ARRIVING, read_body(request.into_body())).await;
        let body = body.unwrap_or_else(|_| Err(Problem::Malformed("it took too long to arrive".to_owned())))?;
        let read = minicbor::decode(&body).map_err(|error| Problem::Malformed(error.to_string()))?;
        Ok((read, room))
    }

    /// In constant time, so that the time of a refusal tells nothing of the token.
    fn has_token(&self, request: &Request) -> bool {
        let presented = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let token = presented
            .and_then(|value| value.split_at_checked(b"bearer ".len()))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        token.is_some_and(|(_, token)| token.ct_eq(self.service_token.reveal().as_bytes()).into())
    }
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, GREATEST_BODY).collect().await;
    whole.map(Collected::to_bytes).map_err(|error| match error.downcast::<LengthLimitError>() {
        Ok(_) => Problem::TooLarge,
        Err(_) => Problem::Malformed("it did not arrive whole".to_owned()),
    })
}

fn answer(value: &impl Encode<()>) -> Result<Response, Problem> {
    let mut body = Vec::with_capacity(512);
    let Ok(()) = minicbor::encode(value, &mut body) else { unreachable!("a Vec takes all bytes") };
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    Ok(([content_type], body).into_response())
}

/// What is answered instead, as RFC 9457 has it. Nothing of the inside shows in it.
enum Problem {
    Malformed(String),
    TokenInvalid,
    RoleOff,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    Unavailable,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a request was not served");
        Self::Unavailable
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, detail) = match self {
            Self::Malformed(detail) => {
                (StatusCode::BAD_REQUEST, "malformed", format!("the body is not what the wire format says: {detail}"))
            }
            Self::TokenInvalid => {
                (StatusCode::UNAUTHORIZED, "token_invalid", "the service token is missing or wrong".to_owned())
            }
            Self::RoleOff => {
                (StatusCode::NOT_FOUND, "not_found", "this origin does not run the role that serves this".to_owned())
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "there is nothing here".to_owned()),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this takes POST".to_owned())
            }
            Self::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a body may have {GREATEST_BODY} bytes"))
            }
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the store cannot do this now: try again".to_owned())
            }
        };
        let body = serde_json::json!({
            "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "code": code, "detail": detail,
        });
        let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let mut response = (status, [content_type], body.to_string()).into_response();
        let extra = match status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::METHOD_NOT_ALLOWED => Some((header::ALLOW, "POST")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = extra {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
