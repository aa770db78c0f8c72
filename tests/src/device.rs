//! A viewer's device: who it is, its token, and what it asks of an edge.

use anyhow::Result;
use playhead_shared::id::SessionId;
use playhead_shared::moves::Viewer;
use serde_json::{Value, json};

use crate::client::{Answer, Ask, Client};
use crate::play::Play;
use crate::{now, token};

/// A device that talks to one edge.
#[derive(Clone, Debug)]
pub struct Device {
    /// Who watches on it.
    pub viewer: Viewer,
    client: Client,
    authorization: Option<String>,
}

impl Device {
    /// A device of `account`, `profile` and `device`, which may have `streams`, at the edge at `url`.
    pub fn new(url: &str, account: &str, profile: &str, device: &str, streams: u32) -> Result<Device> {
        let (account, profile, device) = (account.parse()?, profile.parse()?, device.parse()?);
        let viewer = Viewer { account, profile, device, streams, incognito: false };
        Ok(Device::of(url, viewer))
    }

    /// The device of a viewer, at the edge at `url`.
    pub fn of(url: &str, viewer: Viewer) -> Device {
        let authorization = Some(format!("Bearer {}", token::local(&token::claims(&viewer))));
        Device { viewer, client: Client::new(url), authorization }
    }

    /// The same device at another edge, or at the same one by a new connection.
    pub fn at(&self, url: &str) -> Device {
        Device { client: Client::new(url), ..self.clone() }
    }

    /// The same device, showing something else, or nothing, for its authorization.
    pub fn showing(&self, authorization: Option<String>) -> Device {
        Device { authorization, ..self.clone() }
    }

    /// The URL of the edge that it talks to.
    pub fn base(&self) -> &str {
        self.client.base()
    }

    /// Sends a request. An error means that no answer came.
    pub fn try_send(&self, ask: Ask) -> Result<Answer> {
        let ask = match &self.authorization {
            Some(authorization) => ask.header("authorization", authorization.as_str()),
            None => ask,
        };
        self.client.send(&ask)
    }

    /// Sends a request that must be answered, and soundly.
    ///
    /// # Panics
    /// If no answer comes, or one that no question deserves.
    pub fn send(&self, ask: Ask) -> Answer {
        let what = format!("{} {}", ask.method, ask.path);
        let answer = self.try_send(ask).unwrap_or_else(|error| panic!("{what}: {error:#}"));
        // An answer to HEAD has no body to be judged.
        if let Some(fault) = answer.fault().filter(|_| !what.starts_with("HEAD ")) {
            panic!("{what}: {fault}");
        }
        answer
    }

    /// `GET`, answered with 200: its JSON, but for the time, which every answer tells.
    ///
    /// # Panics
    /// If it is answered otherwise.
    pub fn read(&self, path: &str) -> Value {
        let answer = self.send(Ask::new("GET", path));
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        let mut json = answer.json();
        let told =
            json.as_object_mut().and_then(|members| members.remove("server_time")).and_then(|time| time.as_u64());
        assert!(
            told.is_some_and(|told| told.abs_diff(now().0) < 60_000),
            "GET {path} tells no time: {}",
            answer.text()
        );
        json
    }

    /// Presses play.
    pub fn open(&self, play: &Play) -> Answer {
        self.open_evicting(play, &[])
    }

    /// Presses play, and ends other streams to make room.
    pub fn open_evicting(&self, play: &Play, evict: &[SessionId]) -> Answer {
        let body = json!({"sent_at": now().0, "title_id": play.title, "evict": evict});
        self.send(Ask::new("PUT", format!("/v1/sessions/{}", play.session)).json(&body))
    }

    /// Sends heartbeats and returns whatever was answered, if anything was.
    pub fn try_beat(&self, heartbeats: &[Value]) -> Result<Answer> {
        self.try_send(beats(heartbeats))
    }

    /// Sends heartbeats, all of which must be taken; returns the answer's JSON.
    pub fn beat(&self, heartbeats: &[Value]) -> Value {
        let answer = self.send(beats(heartbeats));
        assert_eq!(answer.status, 202, "{}", answer.text());
        let json = answer.json();
        assert_eq!(json["accepted"], heartbeats.len(), "{json}");
        json
    }

    /// Ends a stream of the account.
    pub fn end(&self, session: SessionId) {
        self.done(Ask::new("DELETE", format!("/v1/sessions/{session}")));
    }

    /// Sets `{"watched": …}` or `{"hidden": …}` of a title.
    pub fn set(&self, title: &str, what: &str, to: bool, observed_at: u64) {
        let body = json!({"sent_at": now().0, "observed_at": observed_at, what: to});
        self.done(Ask::new("PUT", format!("/v1/titles/{title}/{what}")).json(&body));
    }

    /// Forgets a title.
    pub fn forget(&self, title: &str, observed_at: u64) {
        let query = format!("sent_at={}&observed_at={observed_at}", now().0);
        self.done(Ask::new("DELETE", format!("/v1/titles/{title}?{query}")));
    }

    /// Deletes one history entry.
    pub fn delete_entry(&self, session: SessionId, observed_at: u64) {
        let query = format!("sent_at={}&observed_at={observed_at}", now().0);
        self.done(Ask::new("DELETE", format!("/v1/history/{session}?{query}")));
    }

    fn done(&self, ask: Ask) {
        let what = format!("{} {}", ask.method, ask.path);
        let answer = self.send(ask);
        assert_eq!((answer.status, answer.text()), (204, String::new()), "{what}");
    }

    /// The resume point of one title; null if there is none.
    pub fn resume_point(&self, title: &str) -> Value {
        self.read(&format!("/v1/resume?titles={title}"))["titles"][title].clone()
    }

    /// The history entries, newest first.
    pub fn history(&self) -> Vec<Value> {
        items(self.read("/v1/history?limit=100")["entries"].take())
    }

    /// The lines of continue watching, newest first.
    pub fn continue_watching(&self) -> Vec<Value> {
        items(self.read("/v1/continue-watching")["items"].take())
    }

    /// The account's live streams, youngest first.
    pub fn streams(&self) -> Vec<Value> {
        items(self.read("/v1/streams")["streams"].take())
    }
}

/// `POST /v1/heartbeats`
pub fn beats(heartbeats: &[Value]) -> Ask {
    Ask::new("POST", "/v1/heartbeats").json(&json!({"sent_at": now().0, "heartbeats": heartbeats}))
}

fn items(list: Value) -> Vec<Value> {
    match list {
        Value::Array(items) => items,
        other => panic!("{other} is no list"),
    }
}
