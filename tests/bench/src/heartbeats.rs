//! Heartbeats as devices send them: one a request, many sessions in turn, all that changes changing.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use playhead_shared::id::SessionId;
use playhead_shared::moves::Viewer;
use playhead_tests::play::DURATION_MS;
use playhead_tests::{now, token};

use crate::load::{Answer, Traffic, post};

/// Sessions of one account, each on a device of its own.
const PER_ACCOUNT: u64 = 4;
/// How far a session moves from beat to beat.
const STEP_MS: u64 = 1_000;

/// What the requests ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// `POST /v1/heartbeats` of an edge
    Edge,
    /// One row of a bare baseline
    Upsert,
    /// Nothing of a bare baseline
    Nothing,
}

/// Sessions that beat in turn.
pub(crate) struct Heartbeats {
    path: Path,
    sessions: Vec<Session>,
    turn: AtomicU64,
}

struct Session {
    account: String,
    id: SessionId,
    title: String,
    authorization: String,
}

impl Heartbeats {
    /// So many sessions, born now.
    pub(crate) fn new(path: Path, sessions: u64) -> anyhow::Result<Self> {
        let sessions = (0..sessions).map(Session::new).collect::<anyhow::Result<_>>()?;
        Ok(Self { path, sessions, turn: AtomicU64::new(0) })
    }
}

impl Session {
    fn new(number: u64) -> anyhow::Result<Self> {
        let account = format!("account-{}", number / PER_ACCOUNT);
        let viewer = Viewer {
            account: account.parse()?,
            profile: format!("profile-{}", number % 2).parse()?,
            device: format!("living-room-{number}").parse()?,
            streams: PER_ACCOUNT as u32,
            incognito: false,
        };
        let authorization = format!(
            "authorization: Bearer {}\r\ncontent-type: application/json\r\n",
            token::local(&token::claims(&viewer))
        );
        let title = format!("film-{}", number % 97);
        Ok(Self { account, id: SessionId::of_birth(now(), fastrand::u64(..)), title, authorization })
    }
}

impl Traffic for Heartbeats {
    fn next(&self, request: &mut Vec<u8>) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.sessions.len() as u64;
        let (Session { account, id, title, authorization }, beat) =
            (&self.sessions[(turn % count) as usize], turn / count);
        // Settled, and away from the credits.
        let position = 20_000 + beat * STEP_MS % (DURATION_MS * 3 / 4);
        let now = now();
        let body = format!(
            r#"{{"sent_at":{now},"heartbeats":[{{"session_id":"{id}","title_id":"{title}","event":"progress","playing":true,"duration_ms":{DURATION_MS},"observed_at":{now},"moved_at":{now},"position_ms":{position},"watched_ms":{position},"furthest_ms":{position}}}]}}"#,
            now = now.0,
        );
        let head = match self.path {
            Path::Edge => post("/v1/heartbeats", authorization, body.len()),
            Path::Upsert => post(&format!("/upsert/{account}/{id}"), authorization, body.len()),
            Path::Nothing => post(&format!("/nothing/{account}/{id}"), authorization, body.len()),
        };
        // A Vec takes all bytes.
        let _ = write!(request, "{head}{body}");
    }

    fn is_good(&self, answer: &Answer<'_>) -> bool {
        answer.status == 202 && answer.body.starts_with(br#"{"accepted":1,"rejected":[]"#)
    }
}
