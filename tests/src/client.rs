//! A plain HTTP client: requests as tables can hold them, answers whole.

use std::io::Cursor;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, SendBody};

/// No answer of a server under test takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// One server as one client sees it, over connections that are kept alive.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The method, as it is sent.
    pub method: String,
    /// Path and query, as they are sent.
    pub path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunked: bool,
}

/// The answer to one.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
    /// From the first byte sent to the last one read.
    pub took: Duration,
}

impl Ask {
    /// A request without headers and body.
    pub fn new(method: &str, path: impl Into<String>) -> Self {
        Self { method: method.to_owned(), path: path.into(), headers: Vec::new(), body: None, chunked: false }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With this body, its length told.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// With this JSON as the body, and the header that says so.
    pub fn json(self, json: &Value) -> Self {
        self.header("content-type", "application/json").body(json.to_string())
    }

    /// The same, its body's length untold.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }
}

impl Client {
    /// A client of the server at `base`, a URL without a slash at its end.
    pub fn new(base: impl Into<String>) -> Self {
        Self::patient(base, PATIENCE)
    }

    /// The same, of a client that gives a request up after so long.
    pub fn patient(base: impl Into<String>, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .timeout_global(Some(patience));
        Self { agent: config.build().into(), base: base.into() }
    }

    /// The server's URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request. An error means that no answer came.
    pub fn send(&self, ask: &Ask) -> Result<Answer> {
        let mut request = Request::builder().method(ask.method.as_str()).uri(format!("{}{}", self.base, ask.path));
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let began = Instant::now();
        let answer = match ask.body.clone() {
            None => self.agent.run(request.body(())?),
            Some(body) if ask.chunked => self.agent.run(request.body(SendBody::from_owned_reader(Cursor::new(body)))?),
            Some(body) => self.agent.run(request.body(body)?),
        };
        let mut answer = answer.with_context(|| format!("{} {} got no answer", ask.method, ask.path))?;
        let body = answer.body_mut().read_to_vec().context("an answer broke off")?;
        Ok(Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body, took: began.elapsed() })
    }
}

impl Answer {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's code; empty if it is no problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// All values of one header, joined as HTTP joins them.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(", ")
    }

    /// What is wrong with this answer whatever the question was: a problem without a problem's shape, or a word that
    /// only the inside knows.
    pub fn fault(&self) -> Option<String> {
        const INSIDE: [&str; 12] = [
            "sqlite",
            "fjall",
            "panicked",
            "src/",
            ".rs:",
            "rusqlite",
            "wasm",
            "thread '",
            "durable",
            "refcell",
            "stack backtrace",
            "worker::",
        ];
        let text = self.text().to_lowercase();
        let headers = format!("{:?}", self.headers).to_lowercase();
        if let Some(word) = INSIDE.iter().find(|word| text.contains(**word) || headers.contains(**word)) {
            return Some(format!("it tells of the inside ({word}): {text}"));
        }
        if self.status < 400 {
            return None;
        }
        let json = self.json();
        let said = |member: &str| json[member].as_str().is_some_and(|text| !text.is_empty());
        let well_formed = self.header("content-type") == "application/problem+json"
            && ["type", "title", "code", "detail"].into_iter().all(said)
            && json["status"] == self.status;
        (!well_formed).then(|| format!("it is no problem+json: {} {text}", self.status))
    }
}
