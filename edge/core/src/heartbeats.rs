//! What devices write: heartbeats, and a viewer's commands.

use std::collections::HashMap;

use http::StatusCode;
use playhead_shared::heartbeat::{Event, Heartbeat, RawHeartbeat, Refusal, RefusalCode, refusal};
use playhead_shared::id::{SessionId, TitleId};
use playhead_shared::moves::{Command, Viewer, command_move, heartbeat_moves};
use playhead_shared::register::{EndReason, Ended, Entry, Fact, Register};
use playhead_shared::time::Millis;
use playhead_shared::wire::Lease;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::answer::{Request, Response, empty_answer, json_answer};
use crate::door::Route;
use crate::edge::Edge;
use crate::flush::{LEASE_MS, PROGRESS_MS, SOON_MS};
use crate::held::{Change, Held, HeldLease, Holdings, Item, Key};
use crate::host::Host;
use crate::problem::{Code, Problem};
use crate::requests::{Timed, body, judge_sent_at, path_id, path_session, time};

/// The most heartbeats in one request.
const MOST_HEARTBEATS: usize = 500;
/// What the origin said of a stream holds until the lease's next renewals should have brought word.
const VERDICT_MS: u64 = 60_000;

#[derive(Deserialize)]
struct Body<'r> {
    sent_at: Option<f64>,
    #[serde(borrow)]
    heartbeats: Vec<&'r RawValue>,
}

#[derive(Serialize)]
struct Answer {
    accepted: usize,
    rejected: Vec<Rejected>,
    server_time: Millis,
    heartbeat_interval_ms: u64,
    ended: Vec<EndedSession>,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    code: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct EndedSession {
    session_id: SessionId,
    reason: &'static str,
    by: Option<String>,
}

/// `POST /v1/heartbeats`
pub(crate) async fn post<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    request: &Request,
) -> Result<Response, Problem> {
    let now = edge.now();
    let body: Body<'_> = body(request)?;
    let sent_at = time(body.sent_at, "sent_at")?;
    if body.heartbeats.is_empty() {
        return Err(Problem::new(Code::Malformed, "heartbeats is empty"));
    }
    if body.heartbeats.len() > MOST_HEARTBEATS {
        return Err(Problem::new(Code::TooMany, format!("{MOST_HEARTBEATS} heartbeats at most: split them")));
    }
    judge_sent_at(sent_at, now, &edge.rules)?;

    let holdings = edge.holdings(viewer).await?;
    let mut titles = known_titles(viewer, &holdings);
    let mut beats = Vec::with_capacity(body.heartbeats.len());
    let mut rejected = Vec::new();
    for (index, raw) in body.heartbeats.iter().enumerate() {
        match accept(edge, raw, now, &mut titles) {
            Ok(beat) => beats.push(beat),
            Err(Refusal { code, detail }) => rejected.push(Rejected { index, code: code.as_str(), detail }),
        }
    }
    let leases: Vec<HeldLease> = beats.iter().map(|beat| lease_of(viewer, beat, sent_at, now)).collect();
    keep(edge, viewer, &beats, &leases, &holdings).await?;
    let answer = Answer {
        accepted: beats.len(),
        rejected,
        server_time: edge.now(),
        heartbeat_interval_ms: edge.config.heartbeat_interval_ms,
        ended: ended_of(&leases, &holdings, now),
    };
    Ok(json_answer(StatusCode::ACCEPTED, &answer))
}

fn known_titles(viewer: &Viewer, holdings: &Holdings) -> HashMap<SessionId, TitleId> {
    let plays = holdings.facts.sessions(&viewer.profile).map(|(id, _, session)| (id, session.title));
    let streams = holdings.leases.iter().map(|(held, _)| (held.lease.session, held.lease.title.clone()));
    streams.chain(plays).collect()
}

fn accept<H: Host, D: Held>(
    edge: &Edge<H, D>,
    raw: &RawValue,
    now: Millis,
    titles: &mut HashMap<SessionId, TitleId>,
) -> Result<Heartbeat, Refusal> {
    let raw: RawHeartbeat = serde_json::from_str(raw.get())
        .map_err(|error| refusal(RefusalCode::Malformed, format!("not a heartbeat: {error}")))?;
    let beat = Heartbeat::try_from((raw, &edge.rules))?;
    beat.judge_time(now, &edge.rules)?;
    let title = titles.entry(beat.session).or_insert_with(|| beat.title.clone());
    if *title != beat.title {
        return Err(refusal(RefusalCode::TitleChanged, format!("the session plays {title}: open another")));
    }
    Ok(beat)
}

fn lease_of(viewer: &Viewer, beat: &Heartbeat, sent_at: Millis, now: Millis) -> HeldLease {
    let lease = Lease {
        account: viewer.account.clone(),
        session: beat.session,
        profile: viewer.profile.clone(),
        device: viewer.device.clone(),
        title: beat.title.clone(),
        observed_at: beat.observed_at,
        stopped: beat.event == Event::Stop,
        playing: beat.playing,
        limit: viewer.streams,
        incognito: viewer.incognito,
        age_ms: sent_at.since(beat.observed_at),
        still_ms: beat.observed_at.since(beat.moved_at),
    };
    HeldLease { lease, received_at: now }
}

/// Makes the heartbeats durable.
async fn keep<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    beats: &[Heartbeat],
    leases: &[HeldLease],
    holdings: &Holdings,
) -> Result<(), Problem> {
    let moves = |beat| heartbeat_moves(viewer, beat, &edge.rules);
    let now = edge.host.now();
    let mut changes: HashMap<Key, Change> = HashMap::new();
    for (beat, lease) in beats.iter().zip(leases) {
        let soon = beat.event != Event::Progress;
        let due = now.plus(if soon { SOON_MS } else { PROGRESS_MS });
        // What is held already is durable already: a repetition, or the profile that every heartbeat names. It may be
        // due earlier now, though: a stop changes no position.
        let is_news = |entry: &Entry| match holdings.facts.get(&entry.fact) {
            Some(held) => entry.register > *held || (soon && entry.register == *held),
            None => true,
        };
        for Entry { account, fact, register } in moves(beat).into_iter().filter(is_news) {
            gather(&mut changes, Key { account, item: Item::Fact(fact) }, register, due);
        }
        let due = now.plus(if soon { SOON_MS } else { LEASE_MS });
        let (key, register) = lease.entry();
        gather(&mut changes, key, register, due);
    }
    edge.merge(changes.into_values().collect()).await
}

/// Merges each register under its own key already here: an offline backlog is hundreds of beats of one session.
fn gather(changes: &mut HashMap<Key, Change>, key: Key, register: Register, due: Millis) {
    match changes.get_mut(&key) {
        Some(change) => {
            change.due = change.due.min(due);
            if register > change.register {
                change.register = register;
            }
        }
        None => drop(changes.insert(key.clone(), Change { key, register, due })),
    }
}

/// Which of the sessions hold no stream any more: worked out anew for every answer.
fn ended_of(leases: &[HeldLease], holdings: &Holdings, now: Millis) -> Vec<EndedSession> {
    let mut sessions: Vec<SessionId> = Vec::new();
    for held in leases.iter().filter(|held| !held.lease.stopped) {
        if !sessions.contains(&held.lease.session) {
            sessions.push(held.lease.session);
        }
    }
    let told =
        |session_id, reason: EndReason, by: Option<String>| EndedSession { session_id, reason: reason.word(), by };
    (sessions.into_iter())
        .filter_map(|session| {
            let ended = holdings.facts.get(&Fact::Ended(session)).and_then(|register| register.value::<Ended>().ok());
            if let Some(ended) = ended {
                return Some(told(session, ended.reason, Some(ended.by.to_string())));
            }
            let own = leases.iter().find(|held| held.lease.session == session)?;
            let younger = |held: &HeldLease| {
                held.lease.device == own.lease.device && held.lease.session > session && !held.lease.stopped
            };
            if holdings.leases.iter().map(|(held, _)| held).chain(leases).any(younger) {
                return Some(told(session, EndReason::Replaced, Some(own.lease.device.to_string())));
            }
            let (_, verdict, _) =
                (holdings.verdicts.iter()).find(|(of, _, at)| *of == session && now.since(*at) < VERDICT_MS)?;
            Some(told(session, verdict.reason, Some(verdict.by.to_string())))
        })
        .collect()
}

#[derive(Deserialize)]
struct MarkBody {
    #[serde(flatten)]
    timed: Timed,
    watched: bool,
}

#[derive(Deserialize)]
struct HideBody {
    #[serde(flatten)]
    timed: Timed,
    hidden: bool,
}

/// The routes of a viewer's commands: each moves one register, and a retry moves the same one.
pub(crate) async fn command<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    route: Route,
    request: &Request,
) -> Result<Response, Problem> {
    let now = edge.now();
    let (command, timed) = match route {
        Route::MarkWatched(title) => {
            let MarkBody { timed, watched } = body(request)?;
            (Command::MarkWatched(path_id(&title)?, watched), timed)
        }
        Route::Hide(title) => {
            let HideBody { timed, hidden } = body(request)?;
            (Command::Hide(path_id(&title)?, hidden), timed)
        }
        Route::Forget(title) => (Command::Forget(path_id(&title)?), Timed::of_query(request)?),
        Route::DeleteEntry(session) => (Command::Delete(path_id(&session)?), Timed::of_query(request)?),
        Route::EndSession(session) => {
            let session = path_session(&session, now, &edge.rules)?;
            (Command::End(session, EndReason::Stopped), Timed::of_query(request)?.or_now(now))
        }
        _ => return Err(Problem::new(Code::NotFound, "there is no such path")),
    };
    timed.sent_at(now, &edge.rules)?;
    let Entry { account, fact, register } = command_move(viewer, command, timed.observed_at(now, &edge.rules)?);
    let due = edge.host.now().plus(SOON_MS);
    edge.merge(vec![Change { key: Key { account, item: Item::Fact(fact) }, register, due }]).await?;
    Ok(empty_answer(StatusCode::NO_CONTENT))
}
