//! Serving: from a request to its answer.

use std::rc::Rc;

use http::StatusCode;
use playhead_shared::moves::Viewer;

use crate::answer::{Request, Response, empty_answer};
use crate::door::{self, Route, Visitor};
use crate::edge::Edge;
use crate::held::Held;
use crate::host::Host;
use crate::problem::Problem;
use crate::{admission, heartbeats, reads};

impl<H: Host, D: Held> Edge<H, D> {
    /// Judges and answers a request from its first byte to its last.
    pub async fn answer(self: &Rc<Self>, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let visitor = door::enter(&self.config, &head, self.now());
        let request = Request::from_parts(head, body);
        let mut response = match visitor {
            Visitor::Answered(response) => response,
            Visitor::Timer => {
                self.flush().await;
                let mut answer = empty_answer(StatusCode::NO_CONTENT);
                answer.headers_mut().extend(self.host.figures());
                answer
            }
            Visitor::Device(route, caller) => self.serve(route, &caller.viewer, &request).await,
        };
        door::open_to_browsers(&self.config, request.headers(), &mut response);
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
}
