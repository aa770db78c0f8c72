//! The scripts, each of which is one atomic step within one partition. They know keys and bytes, and no rule.

use std::sync::OnceLock;

use redis::{Cmd, ToRedisArgs};

/// A script, loaded wherever a connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Says that collect is there, or begins a new continuity.
    Mark,
    /// Commits what was decided on one account.
    Take,
    /// Makes an empty view that is being filled.
    BeginFill,
    /// Merges facts into it.
    Fill,
    /// Signals for one consumer.
    Due,
    /// Publishes events, queues signals, removes those that are done.
    Publish,
    /// Drops what is kept no longer.
    Prune,
}

const NEWER: &str = include_str!("newer.lua");

impl Script {
    pub(super) const ALL: [Self; 7] =
        [Self::Mark, Self::Take, Self::BeginFill, Self::Fill, Self::Due, Self::Publish, Self::Prune];

    pub(super) fn text(self) -> String {
        match self {
            Self::Mark => include_str!("mark.lua").to_owned(),
            Self::Take => [NEWER, include_str!("take.lua")].concat(),
            Self::BeginFill => include_str!("begin_fill.lua").to_owned(),
            Self::Fill => [NEWER, include_str!("fill.lua")].concat(),
            Self::Due => include_str!("due.lua").to_owned(),
            Self::Publish => include_str!("publish.lua").to_owned(),
            Self::Prune => include_str!("prune.lua").to_owned(),
        }
    }

    /// The call of it, to which its arguments are still to be added.
    pub(super) fn on(self, keys: &[impl ToRedisArgs]) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.sha()).arg(keys.len()).arg(keys);
        command
    }

    /// By which the server knows it: the SHA-1 of its text.
    fn sha(self) -> &'static str {
        static SHAS: OnceLock<[String; 7]> = OnceLock::new();
        let sha = |script: Self| redis::Script::new(&script.text()).get_hash().to_owned();
        &SHAS.get_or_init(|| Self::ALL.map(sha))[self as usize]
    }
}
