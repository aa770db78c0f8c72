//! Either edge: the same settings, the same abilities.

use std::fmt;

use anyhow::Result;

use crate::origin::SERVICE_TOKEN;
use crate::spin_host::SpinHost;
use crate::token;
use crate::workerd::Workerd;

/// A page that may call the edges under test.
pub const ALLOWED_PAGE: &str = "https://watch.example";

/// On which platform an edge runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Workers,
    Spin,
}

impl Kind {
    /// Both of them.
    pub const BOTH: [Kind; 2] = [Kind::Workers, Kind::Spin];

    /// The other one.
    pub fn other(self) -> Kind {
        if self == Kind::Workers { Kind::Spin } else { Kind::Workers }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Kind::Workers { "workers" } else { "spin" })
    }
}

/// What a test may want to set otherwise at an edge.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the settings by their names
pub struct Settings {
    pub allowed_origins: String,
    pub issuer: String,
    pub audience: String,
    pub acknowledge: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_origins: ALLOWED_PAGE.to_owned(),
            issuer: String::new(),
            audience: String::new(),
            acknowledge: "edge".to_owned(),
        }
    }
}

/// A running edge.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Edge {
    Workers(Workerd),
    Spin(SpinHost),
}

impl Edge {
    /// Starts one that hands in at `origin_url`.
    pub fn start(kind: Kind, origin_url: &str, settings: &Settings) -> Result<Edge> {
        let jwks = token::jwks();
        let lower = [
            ("jwks", jwks.as_str()),
            ("issuer", settings.issuer.as_str()),
            ("audience", settings.audience.as_str()),
            ("service_token", SERVICE_TOKEN),
            ("allowed_origins", settings.allowed_origins.as_str()),
            ("heartbeat_interval_ms", ""),
            ("acknowledge", settings.acknowledge.as_str()),
            ("origin_url", origin_url),
        ];
        Ok(match kind {
            Kind::Spin => Edge::Spin(SpinHost::start(&lower, origin_url)?),
            Kind::Workers => {
                let upper: Vec<_> = lower.iter().map(|(name, text)| (name.to_uppercase(), *text)).collect();
                let variables: Vec<_> = upper.iter().map(|(name, text)| (name.as_str(), *text)).collect();
                Edge::Workers(Workerd::start(&variables)?)
            }
        })
    }

    /// On which platform it runs.
    pub fn kind(&self) -> Kind {
        match self {
            Edge::Workers(_) => Kind::Workers,
            Edge::Spin(_) => Kind::Spin,
        }
    }

    /// Its base URL, without a slash at its end.
    pub fn url(&self) -> String {
        match self {
            Edge::Workers(edge) => edge.url(),
            Edge::Spin(edge) => edge.url(),
        }
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Edge::Workers(edge) => edge.kill(),
            Edge::Spin(edge) => edge.kill(),
        }
    }

    /// Starts it again on the same disk and the same port.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Edge::Workers(edge) => edge.restart(),
            Edge::Spin(edge) => edge.restart(),
        }
    }

    /// Switches the operator's timer on or off, where there is one.
    pub fn set_timer(&self, on: bool) {
        if let Edge::Spin(edge) = self {
            edge.set_timer(on);
        }
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        match self {
            Edge::Workers(edge) => edge.log(),
            Edge::Spin(edge) => edge.log(),
        }
    }
}
