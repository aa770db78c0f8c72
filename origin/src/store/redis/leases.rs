//! An account's leases as they lie in Redis: one value, which is replaced only if it is still the one that was read.
//!
//! `8 bytes nonce, 8 bytes epoch, CBOR`. The nonce is new with every write and says which value it is; under the
//! epoch of the mark at that time it says what the value is worth (see `mark.rs`).

use playhead_shared::id::SessionId;

use super::nonce;
use crate::streams::{End, Held, Table};

/// What was read, and what it takes to replace it.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    /// Empty where there are none.
    pub(super) nonce: Vec<u8>,
    /// None where there are none.
    pub(super) epoch: Option<u64>,
    pub(super) held: Vec<Held>,
}

const NONCE: usize = 8;
const HEAD: usize = 16;

impl Leases {
    /// What cannot be read, of another version, counts as lost, and is written over: one account must not hold up a
    /// batch of hundreds.
    pub(super) fn read(bytes: Option<Vec<u8>>) -> Self {
        let bytes = bytes.unwrap_or_default();
        let nonce = bytes[..bytes.len().min(NONCE)].to_vec();
        let readable = bytes.split_first_chunk::<HEAD>().and_then(|(head, held)| {
            let epoch = head[NONCE..].try_into().ok().map(u64::from_be_bytes);
            Some((epoch, minicbor::decode(held).ok()?))
        });
        if readable.is_none() && !bytes.is_empty() {
            tracing::error!("Redis holds leases in another form: they are lost");
        }
        let (epoch, held) = readable.unwrap_or_default();
        Self { nonce, epoch, held }
    }

    /// The bytes of a table's leases, under a nonce of their own.
    pub(super) fn write(table: &Table, epoch: u64) -> Vec<u8> {
        let held: Vec<&Held> = table.remembered().collect();
        let mut bytes = Vec::with_capacity(HEAD + 256 * held.len());
        bytes.extend_from_slice(&nonce().to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        let Ok(()) = minicbor::encode(&held, &mut bytes) else { unreachable!("a Vec takes all bytes") };
        bytes
    }

    /// Whether the session is known not to have an `ended` register: it is remembered, and as it would be if it had.
    pub(super) fn not_ended(&self, session: SessionId, epoch: u64) -> bool {
        self.epoch == Some(epoch) && self.of(session).is_some() && !self.ended(session)
    }

    /// Whether the session is remembered to have an `ended` register.
    pub(super) fn ended(&self, session: SessionId) -> bool {
        let ending = self.of(session).and_then(|held| held.ended.as_ref());
        ending.is_some_and(|ending| ending.how == End::Ended)
    }

    fn of(&self, session: SessionId) -> Option<&Held> {
        self.held.iter().find(|held| held.lease.session == session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_can_be_written_over() {
        let empty = Leases::write(&Table::default(), 7);
        for (bytes, nonce, epoch) in [
            (None, &[][..], None),
            (Some(empty.clone()), &empty[..8], Some(7)),
            (Some(vec![1; 5]), &[1; 5], None),
            (Some(vec![1; 8]), &[1; 8], None),
            (Some(vec![1; 20]), &[1; 8], None),
        ] {
            let leases = Leases::read(bytes.clone());
            assert_eq!((leases.nonce.as_slice(), leases.epoch), (nonce, epoch), "{bytes:?}");
        }
    }
}
