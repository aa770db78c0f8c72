//! The verdict: what an edge answers about every profile, beside what the oracle says.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use playhead_shared::id::SessionId;
use playhead_tests::client::{Ask, Client};
use serde_json::{Value, json};

use crate::crowd::{Member, authorization};
use crate::ledger::{Beat, Fate, Ledger};
use crate::oracle::Oracle;

/// Progress is due at the origin within 30 s, and after an outage of the origin's the edge may pause for 15 s.
const DRAINING: Duration = Duration::from_secs(90);
const READERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);
/// The most titles that one request may ask for.
const TITLES: usize = 100;

/// How it ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Heartbeats that were acknowledged and of which nothing is known, nor of a newer one of their session.
    pub(crate) lost: u64,
    /// Everything that is not as the oracle says, the losses among it, in words.
    pub(crate) wrong: Vec<String>,
    /// History entries that were compared.
    pub(crate) entries: u64,
    /// Resume points that were compared.
    pub(crate) resume_points: u64,
    /// Lists of continue watching that were compared.
    pub(crate) lists: u64,
}

/// Compares every profile, as the edge at `url` answers, with its oracle; what differs again and again until all has had
/// its time to drain.
pub(crate) fn of(url: &str, members: &[Member], tell: impl Fn(usize) + Sync) -> Verdict {
    let deadline = Instant::now() + DRAINING;
    let mut verdict = Verdict::default();
    let mut open: Vec<&Member> = members.iter().collect();
    loop {
        let (right, wrong) = judge_all(url, &open);
        right.into_iter().for_each(|of| verdict.add(of));
        if wrong.is_empty() || Instant::now() >= deadline {
            wrong.into_iter().for_each(|(_, of)| verdict.add(of));
            return verdict;
        }
        if wrong.len() < open.len() {
            tell(wrong.len());
        }
        open = wrong.into_iter().map(|(member, _)| member).collect();
        thread::sleep(Duration::from_secs(1));
    }
}

/// The verdicts on profiles that are as they must be, and those on others.
fn judge_all<'m>(url: &str, members: &[&'m Member]) -> (Vec<Verdict>, Vec<(&'m Member, Verdict)>) {
    let (right, wrong) = (Mutex::default(), Mutex::default());
    let client = Client::patient(url, PATIENCE);
    thread::scope(|scope| {
        for members in members.chunks(members.len().div_ceil(READERS).max(1)) {
            let (client, right, wrong) = (&client, &right, &wrong);
            scope.spawn(move || {
                for member in members {
                    let verdict = judge(client, member).unwrap_or_else(|error| Verdict {
                        wrong: vec![format!("{}: {error:#}", name(member))],
                        ..Verdict::default()
                    });
                    // A thread that panicked has failed the drill already.
                    let Ok(mut right) = right.lock() else { return };
                    let right: &mut Vec<Verdict> = &mut right;
                    if verdict.wrong.is_empty() {
                        right.push(verdict);
                    } else if let Ok(mut wrong) = wrong.lock() {
                        let wrong: &mut Vec<(&Member, Verdict)> = &mut wrong;
                        wrong.push((member, verdict));
                    }
                }
            });
        }
    });
    (right.into_inner().unwrap_or_default(), wrong.into_inner().unwrap_or_default())
}

fn judge(client: &Client, member: &Member) -> Result<Verdict> {
    // Of what was watched incognito nothing may be known, but what the viewer marked by their own hand.
    let unwatched = Ledger { beats: Vec::new(), commands: member.ledger().commands.clone() };
    let ledger = if member.identity[0].incognito { &unwatched } else { member.ledger() };
    let oracle = Oracle::new(ledger);
    let reader = Reader { client, authorization: authorization(&member.identity[0]) };
    let mut verdict = Verdict::default();
    history(&reader, ledger, &oracle, &mut verdict)?;
    resume_points(&reader, member, &oracle, &mut verdict)?;
    continue_watching(&reader, &oracle, &mut verdict)?;
    for word in &mut verdict.wrong {
        *word = format!("{}: {word}", name(member));
    }
    Ok(verdict)
}

fn history(reader: &Reader<'_>, ledger: &Ledger, oracle: &Oracle<'_>, verdict: &mut Verdict) -> Result<()> {
    let entries = reader.history()?;
    let mut listed: HashSet<SessionId> = HashSet::new();
    let sessions = oracle.sessions();
    let mut last = None;
    for entry in &entries {
        let id: SessionId = entry["session_id"].as_str().context("an entry without a session")?.parse()?;
        if !listed.insert(id) || last.is_some_and(|last| last < id) {
            verdict.wrong.push(format!("{id} is listed twice, or out of order"));
        }
        last = Some(id);
        let may_be = sessions.get(&id).map(Vec::as_slice).unwrap_or_default();
        verdict.entries += 1;
        if may_be.iter().flatten().any(|beat| same(entry, beat)) {
            continue;
        }
        let observed_at = entry["observed_at"].as_u64().unwrap_or_default();
        let lost = acknowledged_after(ledger, id, observed_at);
        verdict.lost += lost;
        verdict
            .wrong
            .push(format!("the history has {entry}, {lost} acknowledged ones were newer; allowed: {may_be:?}"));
    }
    for (id, may_be) in &sessions {
        if !listed.contains(id) && !may_be.iter().any(Option::is_none) {
            let lost = acknowledged_after(ledger, *id, 0);
            verdict.lost += lost;
            verdict.wrong.push(format!("{id} is not in the history, {lost} of it were acknowledged: {may_be:?}"));
        }
    }
    Ok(())
}

fn acknowledged_after(ledger: &Ledger, session: SessionId, observed_at: u64) -> u64 {
    let newer =
        |beat: &&Beat| beat.session == session && beat.fate == Fate::Acknowledged && beat.observed_at > observed_at;
    ledger.beats.iter().filter(newer).count() as u64
}

fn same(entry: &Value, beat: &Beat) -> bool {
    let expected = json!({
        "session_id": beat.session, "title_id": beat.title.id, "series_id": beat.title.series, "device": beat.device,
        "started_at": beat.session.birth().0, "observed_at": beat.observed_at, "event": beat.event,
        "position_ms": beat.position_ms, "duration_ms": beat.title.duration_ms, "watched_ms": beat.watched_ms,
        "furthest_ms": beat.furthest_ms,
    });
    *entry == expected
}

fn resume_points(reader: &Reader<'_>, member: &Member, oracle: &Oracle<'_>, verdict: &mut Verdict) -> Result<()> {
    // An incognito viewer's titles are asked for, too: there must be nothing.
    let titles = Oracle::new(member.ledger()).titles().join(",");
    let titles: Vec<&str> = titles.split(',').filter(|title| !title.is_empty()).collect();
    for titles in titles.chunks(TITLES) {
        let answer = reader.read(&format!("/v1/resume?titles={}", titles.join(",")), "stale")?;
        for title in titles {
            let (found, may_be) = (&answer["titles"][title], oracle.resume_points(title));
            verdict.resume_points += 1;
            if !may_be.contains(found) {
                verdict.wrong.push(format!("the resume point of {title} is {found}; allowed: {}", json!(may_be)));
            }
        }
    }
    Ok(())
}

fn continue_watching(reader: &Reader<'_>, oracle: &Oracle<'_>, verdict: &mut Verdict) -> Result<()> {
    let Some(expected) = oracle.continue_watching() else { return Ok(()) };
    let answer = reader.read("/v1/continue-watching?limit=100", "partial")?;
    let item = |item: &Value| (item["title_id"].as_str().unwrap_or_default().to_owned(), item["up_next"] == true);
    let found: Vec<_> = answer["items"].as_array().into_iter().flatten().map(item).collect();
    verdict.lists += 1;
    if found != expected[..expected.len().min(100)] {
        verdict.wrong.push(format!("continue watching is {found:?} and must be {expected:?}"));
    }
    Ok(())
}

fn name(member: &Member) -> String {
    format!("{}/{}", member.identity[0].account, member.identity[0].profile)
}

/// One who asks.
struct Reader<'c> {
    client: &'c Client,
    authorization: String,
}

impl Reader<'_> {
    /// A read that the origin has to answer: `away` is what the answer says where it did not.
    fn read(&self, path: &str, away: &str) -> Result<Value> {
        let ask = Ask::new("GET", path).header("authorization", self.authorization.as_str());
        let answer = self.client.send(&ask.header("cache-control", "no-cache"))?;
        ensure!(answer.status == 200, "GET {path} was answered {} {}", answer.status, answer.text());
        let json = answer.json();
        ensure!(json[away] == false, "GET {path} was answered without the origin");
        Ok(json)
    }

    /// All pages.
    fn history(&self) -> Result<Vec<Value>> {
        let (mut entries, mut at) = (Vec::new(), String::new());
        loop {
            let mut page = self.read(&format!("/v1/history?limit=100{at}"), "partial")?;
            let Value::Array(of_page) = page["entries"].take() else { anyhow::bail!("a page without entries") };
            entries.extend(of_page);
            match page["cursor"].as_str() {
                Some(cursor) => at = format!("&cursor={cursor}"),
                None => return Ok(entries),
            }
        }
    }
}

impl Verdict {
    fn add(&mut self, of: Verdict) {
        self.lost += of.lost;
        self.wrong.extend(of.wrong);
        self.entries += of.entries;
        self.resume_points += of.resume_points;
        self.lists += of.lists;
    }
}
