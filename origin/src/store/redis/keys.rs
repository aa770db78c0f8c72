//! How things are named in Redis. Ids hold neither braces nor colons, so none can be taken for another.

use playhead_shared::id::{AccountId, ProfileId};
use playhead_shared::register::{Fact, Kind};
use sha2::{Digest, Sha256};

use super::nodes::Partition;

/// The names of one deployment: all begin with its prefix and the tag of a partition, `{7}`, by which a cluster
/// keeps what belongs together on one server.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: String,
    partitions: Partition,
}

impl Keys {
    pub(super) fn new(prefix: &str, partitions: Partition) -> Self {
        Self { prefix: prefix.to_owned(), partitions }
    }

    /// Where all of an account is. The same for ever: what is in Redis was put there by it.
    pub(super) fn partition(&self, account: &AccountId) -> Partition {
        let digest = Sha256::digest(account.as_str().as_bytes());
        let number = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        (number % u64::from(self.partitions)) as Partition
    }

    fn key(&self, partition: Partition, what: &str) -> String {
        format!("{}{{{partition}}}:{what}", self.prefix)
    }

    /// The number of partitions with which the deployment began.
    pub(super) fn partitions(&self) -> String {
        self.key(0, "partitions")
    }

    /// When collect was there, and what that says of the rest (`mark.rs`).
    pub(super) fn mark(&self, partition: Partition) -> String {
        self.key(partition, "mark")
    }

    /// An account's leases (`leases.rs`).
    pub(super) fn leases(&self, partition: Partition, account: &AccountId) -> String {
        self.key(partition, &format!("leases:{account}"))
    }

    /// Accounts by when a sweep has something to do with their leases.
    pub(super) fn due(&self, partition: Partition) -> String {
        self.key(partition, "due")
    }

    /// The queue: a stream.
    pub(super) fn signals(&self, partition: Partition) -> String {
        self.key(partition, "signals")
    }

    /// Signals by the time at which they go into the queue.
    pub(super) fn later(&self, partition: Partition) -> String {
        self.key(partition, "later")
    }

    /// Published events: a stream.
    pub(super) fn events(&self, partition: Partition) -> String {
        self.key(partition, "events")
    }

    /// Digests of the ids of published events, by time.
    pub(super) fn said(&self, partition: Partition) -> String {
        self.key(partition, "said")
    }

    /// Digests of the ids of events that are signalled, and not said yet.
    pub(super) fn signalled(&self, partition: Partition) -> String {
        self.key(partition, "signalled")
    }

    /// A profile's view (`view.rs`).
    pub(super) fn view(&self, partition: Partition, account: &AccountId, profile: &ProfileId) -> String {
        self.key(partition, &format!("view:{account}:{profile}"))
    }

    /// What [`ready`](crate::store::Views::ready) writes.
    pub(super) fn ready(&self, partition: Partition) -> String {
        self.key(partition, "ready")
    }
}

/// The name of a register in its profile's view: the digit of its kind, then its own.
pub(super) fn field(fact: &Fact) -> String {
    format!("{}{}", fact.kind() as u8, fact.name())
}

/// The fact of a [`field`]; none for what is no register.
pub(super) fn read_field(profile: &ProfileId, field: &[u8]) -> Option<Fact> {
    let (kind, name) = field.split_first()?;
    let kind = kind.checked_sub(b'0')?;
    Fact::from_parts(profile.as_str(), kind, std::str::from_utf8(name).ok()?).ok()
}

/// Whether facts of that kind are in a view: all that says where a viewer is with titles, and what is not listed.
pub(super) fn in_view(kind: Kind) -> bool {
    (Kind::Latest..=Kind::Deleted).contains(&kind)
}

/// Of an event's id, what says whether it was published: 16 bytes, since there is one for each in 8 days.
pub(super) fn digest(id: &str) -> [u8; 16] {
    Sha256::digest(id.as_bytes()).first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use playhead_shared::id::SessionId;
    use playhead_shared::time::Millis;

    #[test]
    fn an_accounts_partition_never_changes() {
        let keys = Keys::new("p:", 64);
        let of = |account: &str| keys.partition(&account.parse().unwrap());
        assert_eq!(["acme", "a", "b", "account-1"].map(of), [32, 10, 10, 30]);
        assert_eq!(keys.leases(7, &"acme".parse().unwrap()), "p:{7}:leases:acme");
    }

    #[test]
    fn a_field_names_its_fact() {
        let (profile, title): (ProfileId, _) = ("ada".parse().unwrap(), "5:a.".parse().unwrap());
        let session = SessionId::of_birth(Millis(1_800_000_000_000), 7);
        for fact in [
            Fact::Latest(profile.clone(), title),
            Fact::Erased(profile.clone()),
            Fact::Deleted(profile.clone(), session),
        ] {
            assert!(in_view(fact.kind()));
            assert_eq!(read_field(&profile, field(&fact).as_bytes()), Some(fact));
        }
        assert_eq!(read_field(&profile, b"@"), None);
        assert_eq!(read_field(&profile, b""), None);
    }
}
