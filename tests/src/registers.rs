//! A profile's registers, byte for byte: as the origin has them, and as the rules say that they must be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use playhead_shared::heartbeat::{Heartbeat, RawHeartbeat};
use playhead_shared::id::AccountId;
use playhead_shared::moves::{Command, Viewer, command_move, heartbeat_moves};
use playhead_shared::register::{Entry, Kind};
use playhead_shared::rules::Rules;
use playhead_shared::time::Millis;
use playhead_shared::wire::{What, WireEntry};
use serde_json::Value;

use crate::now;
use crate::origin::Origin;
use crate::play::Play;

/// The registers of one profile, by kind and name. Equal facts are equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers(BTreeMap<(u8, String), Vec<u8>>);

impl Registers {
    /// What the origin has of these titles, and its whole history.
    pub fn in_origin(origin: &Origin, viewer: &Viewer, titles: &BTreeSet<String>) -> Result<Registers> {
        let mut registers = Registers::default();
        let titles = titles.iter().map(|title| title.parse()).collect::<Result<_, _>>()?;
        for what in [What::Titles(titles), What::History { limit: 10_000, before: None }] {
            for wire in origin.read(viewer, what)?.registers {
                registers.merge(wire);
            }
        }
        Ok(registers)
    }

    /// What these heartbeats and commands must come to, by the domain's own rules.
    pub fn of(viewer: &Viewer, heartbeats: &[Value], commands: &[(Command, u64)]) -> Result<Registers> {
        let rules = Rules::default();
        let mut registers = Registers::default();
        for heartbeat in heartbeats {
            let raw: RawHeartbeat = serde_json::from_value(heartbeat.clone())?;
            let heartbeat = Heartbeat::try_from((raw, &rules)).context("no good heartbeat")?;
            heartbeat_moves(viewer, &heartbeat, &rules).into_iter().for_each(|entry| registers.take(entry));
        }
        for (command, observed_at) in commands {
            registers.take(command_move(viewer, command.clone(), Millis(*observed_at)));
        }
        Ok(registers)
    }

    /// What is here and not in `other`, or otherwise, in words.
    pub fn beside(&self, other: &Registers) -> String {
        let keys: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let hex = |bytes: Option<&Vec<u8>>| match bytes {
            Some(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            None => "nothing".to_owned(),
        };
        keys.into_iter()
            .filter(|key| self.0.get(*key) != other.0.get(*key))
            .map(|key| format!("{key:?}: {} beside {}\n", hex(self.0.get(key)), hex(other.0.get(key))))
            .collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, entry: Entry) {
        // The origin answers no question about the account's own facts.
        if !matches!(entry.fact.kind(), Kind::Profile | Kind::Ended) {
            self.merge(entry.into());
        }
    }

    fn merge(&mut self, wire: WireEntry) {
        let held = self.0.entry((wire.kind, wire.name)).or_default();
        if wire.register > *held {
            *held = wire.register;
        }
    }
}

/// So many history entries of an account, as an edge hands them in.
///
/// # Panics
/// If the account's name is none.
pub fn wire_of(account: &str, count: u64) -> Vec<WireEntry> {
    let account: AccountId = account.parse().unwrap_or_else(|error| panic!("{account}: {error:?}"));
    let viewer = Viewer {
        account,
        profile: "ada".parse().unwrap_or_else(|error| panic!("{error:?}")),
        device: "tv".parse().unwrap_or_else(|error| panic!("{error:?}")),
        streams: 2,
        incognito: false,
    };
    let (rules, birth) = (Rules::default(), now().minus(60_000));
    let moves = |number: u64| {
        let play = Play::born("film", birth.plus(number));
        let beat = play.beat_at("pause", 600_000, birth.plus(number).0);
        let raw: RawHeartbeat = serde_json::from_value(beat).unwrap_or_else(|error| panic!("{error}"));
        let heartbeat = Heartbeat::try_from((raw, &rules)).unwrap_or_else(|error| panic!("{error:?}"));
        let entries = heartbeat_moves(&viewer, &heartbeat, &rules);
        entries.into_iter().find(|entry| entry.fact.kind() == Kind::Session).map(WireEntry::from)
    };
    (0..count).filter_map(moves).collect()
}
