//! An origin and the edges before it.

use anyhow::{Context, Result};

use crate::edge::{Edge, Kind, Settings};
use crate::origin::Origin;

/// A whole system, on free ports and in folders of its own; it ends when it is dropped.
#[derive(Debug)]
pub struct System {
    // Fields are dropped in this order: edges first, so that none reports an origin that went away.
    edges: Vec<Edge>,
    /// The origin behind all edges.
    pub origin: Origin,
}

impl System {
    /// Starts an origin and an edge of each of the `kinds`.
    pub fn start(kinds: &[Kind]) -> Result<System> {
        System::with_settings(kinds, &Settings::default())
    }

    /// The same, with other settings at the edges.
    pub fn with_settings(kinds: &[Kind], settings: &Settings) -> Result<System> {
        let origin = Origin::start()?;
        let edges = kinds.iter().map(|kind| Edge::start(*kind, &origin.url(), settings)).collect::<Result<_>>()?;
        Ok(System { edges, origin })
    }

    /// Its edge of that kind.
    pub fn edge(&self, kind: Kind) -> Result<&Edge> {
        self.edges.iter().find(|edge| edge.kind() == kind).with_context(|| format!("no {kind} edge was started"))
    }

    /// Its edge of that kind, to be killed or restarted.
    pub fn edge_mut(&mut self, kind: Kind) -> Result<&mut Edge> {
        self.edges.iter_mut().find(|edge| edge.kind() == kind).with_context(|| format!("no {kind} edge was started"))
    }

    /// What each part has printed last.
    pub fn last_words(&self) -> String {
        const LINES: usize = 40;
        let logs = self.edges.iter().map(|edge| (edge.kind().to_string(), edge.log()));
        let mut words = String::new();
        for (name, log) in logs.chain([("origin".to_owned(), self.origin.log())]) {
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
            words.push_str(&format!("--- the last of {} lines of {name}:\n{last}\n", lines.len()));
        }
        words
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}
