//! [`Host`] over one Durable Object: its clock, its alarm, its outbound calls.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use playhead_edge::host::{CallError, Host};
use playhead_shared::time::Millis;
use worker::js_sys::{Math, Uint8Array};
use worker::{Date, Delay, Env, Fetch, Headers, Method, Request, RequestInit, RequestRedirect, State, console_log};

use crate::sql::ObjectSql;

/// Tells the operator's timer how many rows the object has written since it woke, as the platform bills them.
const ROWS_WRITTEN: HeaderName = HeaderName::from_static("playhead-rows-written");
/// How long after an alarm has begun the next one comes if the work in between fails altogether.
const SAFETY_NET_MS: u64 = 60_000;

/// One Durable Object, as the core sees it. Clones share the object and its alarm.
#[derive(Clone)]
pub(crate) struct ObjectHost(Rc<Shared>);

struct Shared {
    state: State,
    alarm: Alarm,
    /// The origin's base URL, without a slash at its end.
    origin_url: String,
    /// `Bearer` and the service token.
    authorization: String,
    /// Rows written by statements and by setting or deleting the alarm, as the platform bills them.
    rows_written: Rc<Cell<u64>>,
}

/// What is known of the object's one alarm. Setting an alarm is billed as a row written, so it is set only
/// when it has to ring earlier.
#[derive(Default)]
struct Alarm {
    /// When it rings; unknown until asked after the object was woken, because alarms outlive the object's memory.
    armed: Cell<Known>,
    /// The earliest time asked for since the alarm that is being handled now has begun.
    wanted: Cell<Option<Millis>>,
}

#[derive(Clone, Copy, Default)]
enum Known {
    #[default]
    NotYet,
    None,
    At(Millis),
}

impl ObjectHost {
    /// Reads `ORIGIN_URL` and `SERVICE_TOKEN`. One that is missing is said in the log and fails every call to
    /// the origin, not the object: heartbeats are still accepted and held.
    pub(crate) fn new(state: State, env: &Env) -> ObjectHost {
        let variable = |name: &str| match env.var(name) {
            Ok(value) => value.to_string(),
            Err(_) => {
                console_log!("the variable {name} is not set");
                String::new()
            }
        };
        ObjectHost(Rc::new(Shared {
            state,
            alarm: Alarm::default(),
            origin_url: variable("ORIGIN_URL").trim_end_matches('/').to_owned(),
            authorization: format!("Bearer {}", variable("SERVICE_TOKEN")),
            rows_written: Rc::default(),
        }))
    }

    /// The object's own database.
    pub(crate) fn sql(&self) -> ObjectSql {
        ObjectSql::new(self.0.state.storage().sql(), Rc::clone(&self.0.rows_written))
    }

    /// Does the alarm's `work`, which asks by [`Host::wake_at`] for every later wake-up that it still needs.
    ///
    /// The runtime drops an alarm whose handler has failed six times, and a panic is such a failure; hence the
    /// next alarm is set before the work begins, and taken back when the work has asked for none.
    pub(crate) async fn ring(&self, work: impl Future<Output = ()>) {
        let alarm = &self.0.alarm;
        alarm.wanted.set(None);
        self.arm(Millis(self.now().0 + SAFETY_NET_MS)).await;
        work.await;
        if alarm.wanted.get().is_none() {
            alarm.armed.set(Known::None);
            self.count_a_row();
            if let Err(error) = self.0.state.storage().delete_alarm().await {
                self.log(&format!("the alarm could not be taken back, so it rings once for nothing: {error}"));
            }
        }
    }

    async fn arm(&self, at: Millis) {
        let alarm = &self.0.alarm;
        alarm.armed.set(Known::At(at));
        self.count_a_row();
        let offset_ms = i64::try_from(at.0.saturating_sub(self.now().0)).unwrap_or(i64::MAX);
        if let Err(error) = self.0.state.storage().set_alarm(offset_ms).await {
            alarm.armed.set(Known::NotYet);
            self.log(&format!("the alarm could not be set: {error}"));
        }
    }

    fn count_a_row(&self) {
        self.0.rows_written.set(self.0.rows_written.get() + 1);
    }

    async fn ask_what_is_armed(&self) {
        let answer = self.0.state.storage().get_alarm().await;
        // Another request may have set it meanwhile, and then knows better.
        if matches!(self.0.alarm.armed.get(), Known::NotYet) {
            let known = match answer {
                Ok(Some(at)) => Known::At(Millis(u64::try_from(at).unwrap_or(0))),
                _ => Known::None,
            };
            self.0.alarm.armed.set(known);
        }
    }

    async fn post(&self, path: &str, body: &[u8]) -> worker::Result<worker::Response> {
        let headers = Headers::new();
        headers.set(CONTENT_TYPE.as_str(), "application/cbor")?;
        headers.set(AUTHORIZATION.as_str(), &self.0.authorization)?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post)
            .with_headers(headers)
            // The service token goes to the origin that was configured and nowhere else.
            .with_redirect(RequestRedirect::Manual)
            .with_body(Some(Uint8Array::from(body).into()));
        let url = format!("{}{path}", self.0.origin_url);
        Fetch::Request(Request::new_with_init(&url, &init)?).send().await
    }
}

impl Host for ObjectHost {
    /// The runtime stops this clock while code runs and moves it on at each input and output.
    fn now(&self) -> Millis {
        Millis(Date::now().as_millis())
    }

    fn random(&self) -> u64 {
        let half = || (Math::random() * 4_294_967_296.0) as u64;
        half() << 32 | half()
    }

    async fn sleep(&self, ms: u64) {
        Delay::from(Duration::from_millis(ms)).await;
    }

    fn spawn(&self, work: LocalBoxFuture<'static, ()>) {
        self.0.state.wait_until(work);
    }

    async fn wake_at(&self, at: Millis) {
        let alarm = &self.0.alarm;
        alarm.wanted.set(Some(alarm.wanted.get().map_or(at, |wanted| wanted.min(at))));
        if matches!(alarm.armed.get(), Known::NotYet) {
            self.ask_what_is_armed().await;
        }
        match alarm.armed.get() {
            Known::At(armed) if armed <= at => {}
            _ => self.arm(at).await,
        }
    }

    async fn call(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, CallError> {
        let mut response = self.post(path, &body).await.map_err(|error| CallError::Unreachable(error.to_string()))?;
        if response.status_code() != StatusCode::OK.as_u16() {
            return Err(CallError::Status(response.status_code()));
        }
        response.bytes().await.map_err(|error| CallError::Unreadable(error.to_string()))
    }

    fn figures(&self) -> Vec<(HeaderName, HeaderValue)> {
        vec![(ROWS_WRITTEN, self.0.rows_written.get().into())]
    }

    fn log(&self, line: &str) {
        console_log!("{line}");
    }
}
