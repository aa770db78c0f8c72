//! The Cassandra backend.

use std::hash::{BuildHasher, Hasher, RandomState};

use playhead_origin::config::{CassandraConfig, Replication};
use playhead_origin::store::cassandra::{Cassandra, apply};

use super::FactBackend;

/// The run's Cassandra, in a keyspace of its own.
pub struct InKeyspace(pub CassandraConfig);

impl InKeyspace {
    pub fn new() -> Self {
        Self::at(playhead_servers::given(playhead_servers::CASSANDRA).unwrap())
    }

    pub fn at(contact_points: String) -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self(CassandraConfig {
            contact_points: contact_points.split(',').map(str::to_owned).collect(),
            keyspace: format!("test_{random:016x}"),
            datacenter: None,
            login: None,
            replication: Replication::Everywhere(1),
        })
    }
}

impl FactBackend for InKeyspace {
    type Facts = Cassandra;
    async fn open(&self) -> Cassandra {
        apply(&self.0).await.unwrap();
        Cassandra::open(&self.0, 4096).await.unwrap()
    }
}
