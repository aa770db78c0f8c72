//! What an operator can set at an edge: one documented struct, the same on every platform.

use thiserror::Error;

use crate::token::{KeySet, TokenPolicy};

/// The settings of one edge. Every platform gives them as named texts: variables of a Worker, of Spin, ….
#[derive(Clone, Debug)]
pub struct Config {
    /// How tokens are verified: `jwks` (a JSON Web Key Set, inline), `issuer` and `audience` (empty: not asked for).
    pub tokens: TokenPolicy,
    /// `service_token`: what `/internal/…` asks for, and what this edge shows to the origin.
    pub service_token: Secret,
    /// `allowed_origins`: the web origins that may call from a browser, separated by spaces; `*` for any.
    pub allowed_origins: Vec<String>,
    /// `heartbeat_interval_ms`: how often devices report while they play, 10,000 to 30,000; default 30,000.
    pub heartbeat_interval_ms: u64,
    /// `acknowledge`: `edge` (default) once it is durable here, or `origin` where the platform has no durable
    /// disk: then only after the origin took it.
    pub acknowledge: Acknowledge,
}

/// Where a heartbeat must be durable before the device hears 202.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// In this edge's own store.
    Edge,
    /// In the origin's.
    Origin,
}

/// A text that must not be printed.
#[derive(Clone)]
pub struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Secret {
    /// Whether `shown` is the secret; takes equally long wherever they differ.
    pub fn is(&self, shown: &str) -> bool {
        let (a, b) = (self.0.as_bytes(), shown.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (x, y)| differs | (x ^ y)) == 0
    }
}

/// A setting that cannot be used: which one, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the setting `{setting}` {problem}")]
pub struct BadConfig {
    setting: &'static str,
    problem: String,
}

impl Config {
    /// The names of all settings.
    pub const SETTINGS: [&str; 7] =
        ["jwks", "issuer", "audience", "service_token", "allowed_origins", "heartbeat_interval_ms", "acknowledge"];

    /// Reads the settings; `setting` gives each by its name, and nothing or an empty text where it is not set.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Self, BadConfig> {
        let set = |name: &str| setting(name).filter(|text| !text.is_empty());
        let bad = |setting, problem: &str| BadConfig { setting, problem: problem.to_owned() };
        let needed = |name| set(name).ok_or_else(|| bad(name, "is missing"));
        let keys = KeySet::from_jwks(&needed("jwks")?)
            .map_err(|problem| BadConfig { setting: "jwks", problem: format!("is no usable key set: {problem}") })?;
        let interval = set("heartbeat_interval_ms").map_or(Ok(30_000), |text| text.parse());
        let heartbeat_interval_ms = (interval.ok().filter(|ms| (10_000..=30_000).contains(ms)))
            .ok_or_else(|| bad("heartbeat_interval_ms", "must lie between 10000 and 30000"))?;
        let acknowledge = match set("acknowledge").as_deref() {
            None | Some("edge") => Acknowledge::Edge,
            Some("origin") => Acknowledge::Origin,
            Some(_) => return Err(bad("acknowledge", "must be `edge` or `origin`")),
        };
        Ok(Self {
            tokens: TokenPolicy::new(keys, set("issuer"), set("audience")),
            service_token: Secret(needed("service_token")?),
            allowed_origins: set("allowed_origins")
                .map(|text| text.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            heartbeat_interval_ms,
            acknowledge,
        })
    }
}
