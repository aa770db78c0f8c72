//! Clock, randomness, timers, background work and the origin, as Spin gives them.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use playhead_edge::host::{CallError, Host};
use playhead_shared::time::Millis;
use spin_sdk::http::FullBody;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::wasip3::random::insecure::get_insecure_random_u64;
use spin_sdk::{time, variables, wit_bindgen};

/// The platform, for one instance of the component.
#[derive(Clone)]
pub(crate) struct SpinHost(Rc<Origin>);

/// Where to call, and as whom.
struct Origin {
    /// Scheme, host and port, without a slash at the end.
    url: String,
    /// The service token, as the value of `Authorization`.
    authorization: HeaderValue,
}

impl SpinHost {
    /// Reads `origin_url` and `service_token`.
    ///
    /// # Errors
    /// If one of them is not set, or cannot be part of a request. The text never holds the token.
    pub(crate) async fn from_variables() -> Result<Self, String> {
        let url = variable("origin_url").await?;
        let token = variable("service_token").await?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| "the variable service_token holds characters that no header can carry".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self(Rc::new(Origin { url: url.trim_end_matches('/').to_owned(), authorization })))
    }
}

/// One variable of `spin.toml`.
///
/// # Errors
/// If it is not declared there, or its provider is away.
pub(crate) async fn variable(name: &str) -> Result<String, String> {
    variables::get(name).await.map_err(|error| format!("the variable {name} cannot be read: {error}"))
}

impl Host for SpinHost {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn random(&self) -> u64 {
        get_insecure_random_u64()
    }

    async fn sleep(&self, ms: u64) {
        time::sleep(Duration::from_millis(ms)).await;
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        wit_bindgen::spawn(work);
    }

    /// Spin has no durable timer: the operator's own posts to `/internal/flush`.
    async fn wake_at(&self, _: Millis) {}

    async fn call(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let request = Request::post(format!("{}{path}", self.0.url))
            .header(AUTHORIZATION, &self.0.authorization)
            .header(CONTENT_TYPE, "application/cbor")
            .header(CONTENT_LENGTH, body.len())
            .body(FullBody::new(Bytes::from(body)))
            .map_err(|error| CallError::Unreachable(error.to_string()))?;
        let response =
            spin_sdk::http::send(request).await.map_err(|error| CallError::Unreachable(error.to_string()))?;
        if response.status() != StatusCode::OK {
            return Err(CallError::Status(response.status().as_u16()));
        }
        let body = response.into_body().bytes().await.map_err(|error| CallError::Unreadable(error.to_string()))?;
        Ok(body.into())
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
}
