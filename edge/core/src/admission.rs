//! `PUT /v1/sessions/{id}`: a session asks for a stream, and where to begin.
//!
//! It always asks the origin, so that pressing play on another device goes on where the first one stopped. It
//! never waits long: when the origin does not answer, playback begins unverified, from what this edge holds.

use http::StatusCode;
use playhead_shared::id::{SessionId, TitleId};
use playhead_shared::moves::{Command, Viewer, command_move};
use playhead_shared::register::{EndReason, Fact};
use playhead_shared::time::Millis;
use playhead_shared::title::ResumePoint;
use playhead_shared::wire::{Admission, AdmissionAnswer, Batch, Lease, Outcome};
use serde::{Deserialize, Serialize};

use crate::answer::{Request, Response, json_answer};
use crate::edge::Edge;
use crate::flush::SOON_MS;
use crate::held::{Change, Held, HeldLease, Holdings, Item, Key, Learnt};
use crate::host::Host;
use crate::origin::{admit, readable};
use crate::problem::{Code, Problem};
use crate::reads::title_keys;
use crate::requests::{body, judge_sent_at, path_id, path_session, time};
use crate::views::StreamView;

/// The most streams that one admission may evict.
const MOST_EVICTED: usize = 16;

#[derive(Deserialize)]
struct Body {
    sent_at: Option<f64>,
    title_id: Option<String>,
    #[serde(default)]
    evict: Vec<String>,
}

#[derive(Serialize)]
struct Answer {
    server_time: Millis,
    heartbeat_interval_ms: u64,
    resume: Option<ResumePoint>,
    streams: Streams,
    admission: &'static str,
}

#[derive(Serialize)]
struct Streams {
    limit: u32,
    live: usize,
}

pub(crate) async fn put<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    id: &str,
    request: &Request,
) -> Result<Response, Problem> {
    let now = edge.now();
    let session = path_session(id, now, &edge.rules)?;
    let body: Body = body(request)?;
    let sent_at = time(body.sent_at, "sent_at")?;
    let title_id = body.title_id.ok_or_else(|| Problem::new(Code::Malformed, "title_id is missing"))?;
    let title: TitleId = title_id.parse().map_err(|bad| Problem::new(Code::BadId, bad))?;
    if body.evict.len() > MOST_EVICTED {
        return Err(Problem::new(Code::TooMany, format!("evict has {MOST_EVICTED} at most")));
    }
    let evict: Vec<SessionId> = body.evict.iter().map(|id| path_id(id)).collect::<Result<_, _>>()?;
    judge_sent_at(sent_at, now, &edge.rules)?;

    let evictions = evictions(viewer, &evict, sent_at, edge.host.now());
    edge.merge(evictions).await?;
    let holdings = edge.holdings(viewer).await?;
    let lease = HeldLease { lease: lease_of(viewer, session, title, sent_at), received_at: now };
    let asked_at = edge.host.now();
    let admission = Admission { lease: lease.lease.clone(), batch: news(viewer, &holdings, session, now) };
    match admit(edge, &admission).await {
        Ok(answer) => admitted(edge, viewer, &holdings, lease, answer, asked_at).await,
        Err(error) => {
            edge.host.log(&format!("admission unverified: {error}"));
            unverified(edge, viewer, holdings, lease).await
        }
    }
}

fn lease_of(viewer: &Viewer, session: SessionId, title: TitleId, sent_at: Millis) -> Lease {
    Lease {
        account: viewer.account.clone(),
        session,
        profile: viewer.profile.clone(),
        device: viewer.device.clone(),
        title,
        observed_at: sent_at,
        stopped: false,
        playing: true,
        limit: viewer.streams,
        incognito: viewer.incognito,
        age_ms: 0,
        still_ms: 0,
    }
}

fn evictions(viewer: &Viewer, evict: &[SessionId], sent_at: Millis, now: Millis) -> Vec<Change> {
    (evict.iter())
        .map(|session| {
            let entry = command_move(viewer, Command::End(*session, EndReason::Evicted), sent_at);
            let key = Key { account: entry.account, item: Item::Fact(entry.fact) };
            Change { key, register: entry.register, due: now.plus(SOON_MS) }
        })
        .collect()
}

/// What this edge holds of the account's streams and the origin may not know yet.
fn news(viewer: &Viewer, holdings: &Holdings, session: SessionId, now: Millis) -> Batch {
    let ended = holdings.held.iter().filter(|(fact, _, pending)| *pending && matches!(fact, Fact::Ended(_)));
    let registers = ended.map(|(fact, register, _)| {
        Key { account: viewer.account.clone(), item: Item::Fact(fact.clone()) }.wire_entry(register)
    });
    let leases = holdings.leases.iter().filter(|(held, pending)| *pending && held.lease.session != session);
    Batch { registers: registers.collect(), leases: leases.map(|(held, _)| held.clone().aged(now)).collect() }
}

async fn admitted<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    before: &Holdings,
    lease: HeldLease,
    answer: AdmissionAnswer,
    asked_at: Millis,
) -> Result<Response, Problem> {
    let title = lease.lease.title.clone();
    let session = lease.lease.session;
    let mut learnt = readable(answer.registers);
    if answer.outcome != Outcome::Refused {
        learnt.push(lease.entry());
    }
    let asked = title_keys(viewer, std::slice::from_ref(&title));
    let learnt = Learnt { asked, answer: learnt, requested_at: asked_at };
    edge.held.learn(learnt).await.map_err(|error| edge.unavailable(&error))?;

    if answer.outcome == Outcome::Refused {
        let conflicts = answer.streams.into_iter().map(|stream| StreamView::of(viewer, stream)).collect();
        return Err(Problem::stream_limit(viewer.streams, conflicts, edge.now()));
    }
    let known = answer.renewed || holds(before, session);
    let after = edge.holdings(viewer).await?;
    let admission = if answer.outcome == Outcome::Admitted { "admitted" } else { "unverified" };
    Ok(opened(edge, viewer, &after, &title, answer.streams.len(), admission, known))
}

async fn unverified<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    held: Holdings,
    lease: HeldLease,
) -> Result<Response, Problem> {
    let (title, session) = (lease.lease.title.clone(), lease.lease.session);
    let (key, register) = lease.entry();
    let change = Change { key, register, due: edge.host.now().plus(SOON_MS) };
    if let Err(error) = edge.held.merge(vec![change]).await {
        // The stream's next heartbeat says it again; playback waits for neither.
        edge.host.log(&error.to_string());
    }
    let others = held.live_streams(edge.now(), &edge.rules).iter().filter(|other| other.session != session).count();
    Ok(opened(edge, viewer, &held, &title, others + 1, "unverified", holds(&held, session)))
}

fn holds(held: &Holdings, session: SessionId) -> bool {
    held.leases.iter().any(|(held, _)| held.lease.session == session)
}

/// What a device is told whose session may play; `known` if it was told so before.
fn opened<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    held: &Holdings,
    title: &TitleId,
    live: usize,
    admission: &'static str,
    known: bool,
) -> Response {
    let body = Answer {
        server_time: edge.now(),
        heartbeat_interval_ms: edge.config.heartbeat_interval_ms,
        resume: held.facts.resume_point(&viewer.profile, title, &edge.rules),
        streams: Streams { limit: viewer.streams, live },
        admission,
    };
    json_answer(if known { StatusCode::OK } else { StatusCode::CREATED }, &body)
}
