//! What devices read: the origin's registers, merged with what this edge holds, read by the rules.

use playhead_shared::id::{SessionId, TitleId};
use playhead_shared::moves::Viewer;
use playhead_shared::register::{Fact, Latest};
use playhead_shared::wire::{Read, ReadAnswer, Stream, What};
use sha2::{Digest, Sha256};

use crate::answer::{Request, Response, hex, read_answer};
use crate::edge::Edge;
use crate::held::{Held, Holdings, Item, Key, Learnt, asked_register};
use crate::host::{CallError, Host};
use crate::origin::{self, readable};
use crate::problem::{Code, Problem};
use crate::requests::{query, query_limit, query_titles, wants_fresh};
use crate::views::{ContinueAnswer, HistoryAnswer, HistoryEntry, ResumeAnswer, StreamView, StreamsAnswer};

/// The origin is asked anew for a title when its last answer is older.
const FRESH_MS: u64 = 30_000;

/// `GET /v1/resume?titles=`
pub(crate) async fn resume<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    request: &Request,
) -> Result<Response, Problem> {
    let titles = query_titles(request)?;
    let mut holdings = edge.holdings(viewer).await?;
    let asked_at = edge.host.now();
    let fresh = |title: &TitleId| holdings.asked.iter().any(|(of, at)| of == title && asked_at.since(*at) < FRESH_MS);
    let mut stale = false;
    if wants_fresh(request) || !titles.iter().all(fresh) {
        match ask(edge, viewer, What::Titles(titles.clone())).await {
            Ok(answer) => {
                let mut learnt = readable(answer.registers);
                let asked = |title: &TitleId| Item::Asked(viewer.profile.clone(), title.clone());
                learnt.extend(titles.iter().map(|title| (key(viewer, asked(title)), asked_register(asked_at))));
                let asked = title_keys(viewer, &titles);
                let learnt = Learnt { asked, answer: learnt, requested_at: asked_at };
                edge.held.learn(learnt).await.map_err(|error| edge.unavailable(&error))?;
                holdings = edge.holdings(viewer).await?;
            }
            Err(error) => {
                edge.host.log(&format!("resume from what is held: {error}"));
                stale = true;
            }
        }
    }
    let points = titles.iter().map(|title| holdings.facts.resume_point(&viewer.profile, title, &edge.rules));
    let titles = titles.iter().zip(points).collect();
    Ok(read_answer(request.headers(), edge.now(), ResumeAnswer { titles, stale }))
}

/// `GET /v1/continue-watching?limit=`
pub(crate) async fn continue_watching<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    request: &Request,
) -> Result<Response, Problem> {
    let limit = query_limit(request)?;
    let holdings = edge.holdings(viewer).await?;
    let what = What::ContinueWatching { limit: limit as u32, held: touched(&holdings) };
    let (answer, partial) = asked_or_partial(edge, viewer, what).await;
    let facts = overlay(&holdings, answer);
    let items = facts.continue_watching(&viewer.profile, limit, &edge.rules);
    Ok(read_answer(request.headers(), edge.now(), ContinueAnswer { items, partial }))
}

/// `GET /v1/history?limit=&cursor=`
pub(crate) async fn history<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    request: &Request,
) -> Result<Response, Problem> {
    let limit = query_limit(request)?;
    let before = query(request, "cursor").map(|cursor| read_cursor(viewer, &cursor)).transpose()?;
    let holdings = edge.holdings(viewer).await?;
    let (answer, partial) = asked_or_partial(edge, viewer, What::History { limit: limit as u32, before }).await;
    let more = answer.more;
    // Behind the origin's page lie entries that this edge knows nothing of: they come before what it holds there.
    let end = more.then(|| last_session(&answer)).flatten();
    let mut entries = overlay(&holdings, answer).history(&viewer.profile);
    entries.retain(|(id, ..)| before.is_none_or(|before| *id < before) && end.is_none_or(|end| *id >= end));
    let more = more || entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().map(|(id, ..)| *id).or(end);
    let cursor = last.filter(|_| more).map(|last| cursor_at(viewer, last));
    let entries = entries.into_iter().map(HistoryEntry::of).collect();
    Ok(read_answer(request.headers(), edge.now(), HistoryAnswer { entries, cursor, partial }))
}

/// `GET /v1/streams`
pub(crate) async fn streams<H: Host, D: Held>(
    edge: &Edge<H, D>,
    viewer: &Viewer,
    request: &Request,
) -> Result<Response, Problem> {
    let holdings = edge.holdings(viewer).await?;
    let (answer, partial) = asked_or_partial(edge, viewer, What::Streams).await;
    let mut live = if partial { holdings.live_streams(edge.now(), &edge.rules) } else { answer.streams };
    // What the origin has yet to hear of this edge's streams.
    for (held, _) in holdings.leases.iter().filter(|(_, pending)| *pending) {
        match live.iter_mut().find(|stream| stream.session == held.lease.session) {
            Some(stream) if !held.lease.stopped => *stream = held.lease.stream(),
            _ => live.retain(|stream| stream.session != held.lease.session),
        }
    }
    live.retain(|stream| holdings.facts.get(&Fact::Ended(stream.session)).is_none());
    let mut streams: Vec<Stream> = Vec::with_capacity(live.len());
    for stream in live {
        let older = streams.partition_point(|other| other.session > stream.session);
        streams.insert(older, stream);
    }
    let streams = streams.into_iter().map(|stream| StreamView::of(viewer, stream)).collect();
    Ok(read_answer(request.headers(), edge.now(), StreamsAnswer { limit: viewer.streams, streams, partial }))
}

/// Everything that a title's state is made of.
pub(crate) fn title_keys(viewer: &Viewer, titles: &[TitleId]) -> Vec<Key> {
    let kinds = [Fact::Latest, Fact::Watched, Fact::Hidden, Fact::Forgotten];
    let of_titles = titles.iter().flat_map(|title| kinds.map(|fact| fact(viewer.profile.clone(), title.clone())));
    let facts = of_titles.chain([Fact::Erased(viewer.profile.clone())]);
    facts.map(|fact| key(viewer, Item::Fact(fact))).collect()
}

fn key(viewer: &Viewer, item: Item) -> Key {
    Key { account: viewer.account.clone(), item }
}

fn title_of(fact: &Fact) -> Option<&TitleId> {
    match fact {
        Fact::Latest(_, title) | Fact::Watched(_, title) | Fact::Hidden(_, title) | Fact::Forgotten(_, title) => {
            Some(title)
        }
        _ => None,
    }
}

/// The titles that this edge holds something of, and what a resume point among it names: the origin may know neither
/// that one title follows the other nor where they belong.
fn touched(holdings: &Holdings) -> Vec<TitleId> {
    let mut touched: Vec<TitleId> = Vec::new();
    for (fact, register, _) in &holdings.held {
        let latest = match fact {
            Fact::Latest(..) => register.value::<Latest>().ok(),
            _ => None,
        };
        let named = latest.map(|latest| [latest.series, latest.next_title]).into_iter().flatten().flatten();
        for title in title_of(fact).cloned().into_iter().chain(named) {
            if !touched.contains(&title) {
                touched.push(title);
            }
        }
    }
    touched
}

async fn ask<H: Host, D: Held>(edge: &Edge<H, D>, viewer: &Viewer, what: What) -> Result<ReadAnswer, CallError> {
    let read = Read { account: viewer.account.clone(), profile: viewer.profile.clone(), what };
    origin::read(edge, &read).await
}

/// The origin's answer, or nothing and the word that the list is partial.
async fn asked_or_partial<H: Host, D: Held>(edge: &Edge<H, D>, viewer: &Viewer, what: What) -> (ReadAnswer, bool) {
    match ask(edge, viewer, what).await {
        Ok(answer) => (answer, false),
        Err(error) => {
            edge.host.log(&format!("a partial list: {error}"));
            (ReadAnswer::default(), true)
        }
    }
}

/// What is held, and over it what the origin answered: merged, so that order does not matter.
fn overlay(holdings: &Holdings, answer: ReadAnswer) -> playhead_shared::title::ProfileFacts {
    let mut facts = holdings.facts.clone();
    for (key, register) in readable(answer.registers) {
        if let Item::Fact(fact) = key.item {
            facts.merge(fact, register);
        }
    }
    facts
}

fn last_session(answer: &ReadAnswer) -> Option<SessionId> {
    let facts = answer.registers.iter().filter(|wire| wire.kind == playhead_shared::register::Kind::Session as u8);
    facts.filter_map(|wire| wire.name.parse().ok()).min()
}

/// A place in one profile's history. The check keeps a cursor from being used for another.
fn cursor_at(viewer: &Viewer, session: SessionId) -> String {
    format!("{session}.{}", cursor_check(viewer, session))
}

fn cursor_check(viewer: &Viewer, session: SessionId) -> String {
    let digest = Sha256::digest(format!("{}/{}/{session}", viewer.account, viewer.profile));
    hex(&digest[..6])
}

fn read_cursor(viewer: &Viewer, cursor: &str) -> Result<SessionId, Problem> {
    let bad = || Problem::new(Code::BadCursor, "this cursor is not of this history");
    let (session, check) = cursor.split_once('.').ok_or_else(bad)?;
    let session = session.parse().map_err(|_| bad())?;
    if check == cursor_check(viewer, session) { Ok(session) } else { Err(bad()) }
}
