//! One edge: its settings, its store and its way to the origin.

use std::cell::Cell;
use std::rc::Rc;

use http::StatusCode;
use playhead_shared::moves::Viewer;
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;

use crate::answer::{Request, Response, empty_answer};
use crate::config::Config;
use crate::door::{self, Route, Visitor};
use crate::held::{Held, HeldError};
use crate::host::Host;
use crate::problem::Problem;
use crate::{admission, heartbeats, reads};

/// Clocks closer than this are as good as the same.
const CLOCK_TOLERANCE_MS: u64 = 2_000;
/// Two flushes of one edge are at least so far apart, so that a batch is worth its request.
pub(crate) const FLUSH_GAP_MS: u64 = 250;

/// One edge. Shared by all requests of an instance, and by what runs on in the background.
pub struct Edge<H, D> {
    pub(crate) host: H,
    pub(crate) held: D,
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    /// What the origin's clock is ahead of this one, where they disagree.
    origin_ahead_ms: Cell<i64>,
    last_own_flush: Cell<Millis>,
}

impl<H: Host, D: Held> Edge<H, D> {
    /// An edge over what is held.
    pub fn new(host: H, held: D, config: Config) -> Rc<Self> {
        Rc::new(Self {
            host,
            held,
            config,
            rules: Rules::default(),
            origin_ahead_ms: Cell::new(0),
            last_own_flush: Cell::new(Millis(0)),
        })
    }

    /// Judges and answers a request from its first byte to its last: for platforms where one instance does it all.
    pub async fn answer(self: &Rc<Self>, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let visitor = door::enter(&self.config, &head, self.now());
        let request = Request::from_parts(head, body);
        let mut response = match visitor {
            Visitor::Answered(response) => response,
            Visitor::Timer => {
                self.flush().await;
                empty_answer(StatusCode::NO_CONTENT)
            }
            Visitor::Device(route, caller) => self.serve(route, &caller.viewer, &request).await,
        };
        door::open_to_browsers(&self.config, request.headers(), &mut response);
        self.schedule(true).await;
        response
    }

    /// Answers a request that passed the door.
    pub async fn serve(&self, route: Route, viewer: &Viewer, request: &Request) -> Response {
        let served = match route {
            Route::Heartbeats => heartbeats::post(self, viewer, request).await,
            Route::OpenSession(id) => admission::put(self, viewer, &id, request).await,
            Route::Resume => reads::resume(self, viewer, request).await,
            Route::ContinueWatching => reads::continue_watching(self, viewer, request).await,
            Route::History => reads::history(self, viewer, request).await,
            Route::Streams => reads::streams(self, viewer, request).await,
            command => heartbeats::command(self, viewer, command, request).await,
        };
        served.unwrap_or_else(Problem::into_response)
    }

    /// Sees to it that the next flush will come; a shell calls it when it wakes. Where `flush_overdue` (nothing
    /// else may come to flush), what is overdue is flushed in the background at once.
    pub async fn schedule(self: &Rc<Self>, flush_overdue: bool) {
        let due = match self.held.next_due().await {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => return self.host.log(&format!("cannot tell when the next flush is due: {error}")),
        };
        self.host.wake_at(due).await;
        let now = self.host.now();
        if flush_overdue && due <= now && now.since(self.last_own_flush.get()) >= FLUSH_GAP_MS {
            self.last_own_flush.set(now);
            let edge = Rc::clone(self);
            self.host.spawn(Box::pin(async move {
                edge.flush().await;
            }));
        }
    }

    /// The time, by the origin's clock where this one is plainly off.
    pub(crate) fn now(&self) -> Millis {
        Millis(self.host.now().0.saturating_add_signed(self.origin_ahead_ms.get()))
    }

    /// Compares clocks with an answer of the origin.
    pub(crate) fn heard_time(&self, server_time: Millis) {
        let here = self.host.now();
        let ahead = server_time.0.cast_signed() - here.0.cast_signed();
        let ahead = if ahead.unsigned_abs() > CLOCK_TOLERANCE_MS { ahead } else { 0 };
        if ahead != 0 && self.origin_ahead_ms.get() == 0 {
            self.host.log(&format!("this edge's clock is {ahead} ms behind the origin's: the origin's is used"));
        }
        self.origin_ahead_ms.set(ahead);
    }

    /// What goes wrong in the store is the operator's to read and the device's to try again.
    pub(crate) fn unavailable(&self, error: &HeldError) -> Problem {
        self.host.log(&error.to_string());
        Problem::unavailable()
    }
}
