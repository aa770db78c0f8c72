//! How things are named on the disk. Ids hold no zero byte, so a zero byte ends each.

use playhead_shared::id::{AccountId, ProfileId, SessionId};
use playhead_shared::register::{Fact, Kind, Unreadable};
use playhead_shared::time::Millis;

/// `account 0 profile 0 kind name`: what belongs together lies together, and sessions lie by birth.
pub(super) fn fact(account: &AccountId, fact: &Fact) -> Vec<u8> {
    let mut key = prefix(account, fact.profile(), fact.kind());
    key.extend_from_slice(fact.name().as_bytes());
    key
}

/// All facts of one kind of a profile, or of the account itself.
pub(super) fn prefix(account: &AccountId, profile: Option<&ProfileId>, kind: Kind) -> Vec<u8> {
    let profile = profile.map_or("", ProfileId::as_str);
    let mut key = Vec::with_capacity(account.as_str().len() + profile.len() + 3 + 64);
    key.extend_from_slice(account.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(profile.as_bytes());
    key.push(0);
    key.push(kind as u8);
    key
}

/// The fact of a key that starts with `account 0 profile 0`.
pub(super) fn read_fact(key: &[u8], account: &AccountId, profile: &ProfileId) -> Result<Fact, Unreadable> {
    let at = account.as_str().len() + profile.as_str().len() + 2;
    let unreadable = || Unreadable("a key of another shape".to_owned());
    let (kind, name) = key.get(at..).and_then(<[u8]>::split_first).ok_or_else(unreadable)?;
    Fact::from_parts(profile.as_str(), *kind, std::str::from_utf8(name).map_err(|_| unreadable())?)
}

/// `account 0`, before which and a session its lease is kept.
pub(super) fn account(account: &AccountId) -> Vec<u8> {
    let mut key = Vec::with_capacity(account.as_str().len() + 1 + 36);
    key.extend_from_slice(account.as_str().as_bytes());
    key.push(0);
    key
}

pub(super) fn lease(of: &AccountId, session: SessionId) -> Vec<u8> {
    let mut key = account(of);
    key.extend_from_slice(session.to_string().as_bytes());
    key
}

/// `time account 0 session`.
pub(super) fn due(at: Millis, of: &AccountId, session: SessionId) -> Vec<u8> {
    let mut key = at.0.to_be_bytes().to_vec();
    key.extend_from_slice(&lease(of, session));
    key
}

/// The parts of a [`due`] key.
pub(super) fn read_due(key: &[u8]) -> Option<(Millis, AccountId, SessionId)> {
    let (at, rest) = key.split_first_chunk()?;
    let (account, session) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
    Some((Millis(u64::from_be_bytes(*at)), account.parse().ok()?, session.parse().ok()?))
}

/// `time place`, of a signal or an event.
pub(super) fn placed(at: Millis, place: u64) -> [u8; 16] {
    (u128::from(at.0) << 64 | u128::from(place)).to_be_bytes()
}

/// The parts of a [`placed`] key.
pub(super) fn read_placed(key: &[u8]) -> Option<(Millis, u64)> {
    let both = u128::from_be_bytes(*key.first_chunk()?);
    Some((Millis((both >> 64) as u64), both as u64))
}
