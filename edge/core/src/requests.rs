//! What requests have in common: their times, ids and queries.

use std::str::FromStr;

use http::header;
use playhead_shared::heartbeat::{self, RefusalCode};
use playhead_shared::id::{SessionId, TitleId};
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use serde::Deserialize;

use crate::answer::Request;
use crate::door::json_body;
use crate::problem::{Code, Problem};

/// When a write was sent, and when the viewer did what it says: in the body, or for DELETE in the query.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Timed {
    sent_at: Option<f64>,
    observed_at: Option<f64>,
}

impl Timed {
    /// The times in a query.
    pub(crate) fn of_query(request: &Request) -> Result<Self, Problem> {
        let number = |name: &str| {
            let text = query(request, name);
            let number = text.map(|text| text.parse::<f64>()).transpose();
            number.map_err(|_| Problem::new(Code::Malformed, format!("{name} is no number")))
        };
        Ok(Self { sent_at: number("sent_at")?, observed_at: number("observed_at")? })
    }

    /// When it was sent; refused if the device's clock is off, so that nothing it stamps is believed.
    pub(crate) fn sent_at(self, now: Millis, rules: &Rules) -> Result<Millis, Problem> {
        let sent_at = time(self.sent_at, "sent_at")?;
        judge_sent_at(sent_at, now, rules).map(|()| sent_at)
    }

    /// When the viewer gave the command, within the accept window.
    pub(crate) fn observed_at(self, now: Millis, rules: &Rules) -> Result<Millis, Problem> {
        let observed_at = time(self.observed_at, "observed_at")?;
        heartbeat::judge_time(observed_at, now, rules).map_err(|refusal| {
            let code = if refusal.code == RefusalCode::InFuture { Code::InFuture } else { Code::TooOld };
            Problem::new(code, refusal)
        })?;
        Ok(observed_at)
    }

    /// The same, `now` for those that are not given: for a command that needs no place in the order of others.
    pub(crate) fn or_now(self, now: Millis) -> Self {
        let now = Some(now.0 as f64);
        Self { sent_at: self.sent_at.or(now), observed_at: self.observed_at.or(now) }
    }
}

/// Refuses what was sent by a clock that is off.
pub(crate) fn judge_sent_at(sent_at: Millis, now: Millis, rules: &Rules) -> Result<(), Problem> {
    let off = sent_at > now.plus(rules.future_ms) || sent_at < now.minus(rules.sent_behind_ms);
    if off { Err(Problem::clock_skew(now)) } else { Ok(()) }
}

/// A time in milliseconds since 1970.
pub(crate) fn time(number: Option<f64>, name: &str) -> Result<Millis, Problem> {
    match number {
        Some(ms) if ms.fract() == 0.0 && (0.0..1e15).contains(&ms) => Ok(Millis(ms as u64)),
        Some(_) => Err(Problem::new(Code::Malformed, format!("{name} is not in milliseconds since 1970"))),
        None => Err(Problem::new(Code::Malformed, format!("{name} is missing"))),
    }
}

/// The body of a write.
pub(crate) fn body<'r, T: Deserialize<'r>>(request: &'r Request) -> Result<T, Problem> {
    serde_json::from_slice(json_body(request)?)
        .map_err(|error| Problem::new(Code::Malformed, format!("the body is not what this path takes: {error}")))
}

/// An id in a path.
pub(crate) fn path_id<T: FromStr<Err = playhead_shared::id::BadId>>(text: &str) -> Result<T, Problem> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    decoded.parse().map_err(|bad| Problem::new(Code::BadId, bad))
}

/// A session in a path, of a birth that can be.
pub(crate) fn path_session(text: &str, now: Millis, rules: &Rules) -> Result<SessionId, Problem> {
    let session = path_id(text)?;
    heartbeat::judge_birth(session, now, rules).map_err(|refusal| Problem::new(Code::BadId, refusal))?;
    Ok(session)
}

/// The titles of a list in a query, each once.
pub(crate) fn query_titles(request: &Request) -> Result<Vec<TitleId>, Problem> {
    const MOST: usize = 100;
    let list = query(request, "titles").filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| Problem::new(Code::Malformed, "titles is missing"))?;
    let ids: Vec<&str> = list.split(',').collect();
    if ids.len() > MOST {
        return Err(Problem::new(Code::TooMany, format!("titles has {MOST} at most")));
    }
    let mut titles = Vec::with_capacity(ids.len());
    for id in ids {
        let title = id.parse().map_err(|bad| Problem::new(Code::BadId, bad))?;
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    Ok(titles)
}

/// How many items a list may have: 1 to 100, 20 if it does not say.
pub(crate) fn query_limit(request: &Request) -> Result<usize, Problem> {
    let Some(text) = query(request, "limit") else { return Ok(20) };
    match text.parse::<usize>() {
        Ok(limit) if (1..=100).contains(&limit) => Ok(limit),
        Ok(limit) if limit > 100 => Err(Problem::new(Code::TooMany, "limit is 100 at most")),
        _ => Err(Problem::new(Code::Malformed, "limit is a number from 1 to 100")),
    }
}

/// A parameter of the query.
pub(crate) fn query(request: &Request, name: &str) -> Option<String> {
    let pairs = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes());
    pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether the device wants the origin's own answer.
pub(crate) fn wants_fresh(request: &Request) -> bool {
    let controls = request.headers().get_all(header::CACHE_CONTROL);
    controls.iter().any(|value| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("no-cache")))
}
