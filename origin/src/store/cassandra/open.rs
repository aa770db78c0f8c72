//! Reaching Cassandra, and saying in one sentence why it cannot be reached.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::PoolSize;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError};
use scylla::errors::{MetadataError, NewSessionError};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::Consistency;
use tokio::time::timeout;

use super::DEADLINE;
use crate::config::{BadConfig, CassandraConfig};

/// How long one node may take over taking a connection.
const CONNECTING: Duration = Duration::from_secs(3);
/// How long it may take until the cluster is known.
const OPENING: Duration = Duration::from_secs(10);
/// How often idle connections are tried, and how long that may take: a node that hangs is passed by after both.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// When another node is asked, too. Far above what a healthy one takes, so that it costs nothing there.
const ASK_ANOTHER: Duration = Duration::from_millis(250);

/// A session of the nodes of one data centre.
pub(super) async fn connect(config: &CassandraConfig) -> Result<Session, BadConfig> {
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &config.datacenter {
        policy = policy.prefer_datacenter(datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(Consistency::LocalQuorum)
        .serial_consistency(None)
        .request_timeout(Some(DEADLINE))
        .load_balancing_policy(policy.build())
        .speculative_execution_policy(Some(Arc::new(SimpleSpeculativeExecutionPolicy {
            max_retry_count: 1,
            retry_interval: ASK_ANOTHER,
        })))
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .default_execution_profile_handle(profile.into_handle())
        .pool_size(PoolSize::PerHost(CONNECTIONS))
        .connection_timeout(CONNECTING)
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        // Where which row lies is all that it has to know of the schema.
        .keyspaces_to_fetch([&config.keyspace])
        .fetch_full_schema_metadata(false);
    if let Some(login) = &config.login {
        builder = builder.user(&login.user, login.password.reveal());
    }
    let session = match timeout(OPENING, builder.build()).await {
        Ok(built) => built.map_err(|error| unreachable(config, &error))?,
        Err(_) => return Err(silent(config, &format!("nothing for {} s", OPENING.as_secs()))),
    };
    one_datacenter(&session, config)?;
    Ok(session)
}

/// Connections to each node; the bytes of one are read and written by one task.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(2).unwrap();

/// Which quorum is "local" is the asked node's to say, so all that are asked have to be of one data centre.
fn one_datacenter(session: &Session, config: &CassandraConfig) -> Result<(), BadConfig> {
    let state = session.get_cluster_state();
    let there: BTreeSet<&str> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    let names = there.iter().copied().collect::<Vec<_>>().join(", ");
    match &config.datacenter {
        Some(datacenter) if !there.contains(datacenter.as_str()) => Err(BadConfig(format!(
            "cassandra_datacenter is \"{datacenter}\", which Cassandra does not have: give the nearest of {names}."
        ))),
        None if there.len() > 1 => Err(BadConfig(format!(
            "cassandra_datacenter is not set, and Cassandra has several data centres: give the nearest of {names}."
        ))),
        _ => Ok(()),
    }
}

fn unreachable(config: &CassandraConfig, error: &NewSessionError) -> BadConfig {
    use ConnectionSetupRequestErrorKind::{DbError as Refused, MissingAuthentication};
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(ConnectionPoolError::Broken {
        last_connection_error: last,
        ..
    })) = error
    else {
        return silent(config, &cause(error));
    };
    let refused = match last {
        ConnectionError::ConnectionSetupRequestError(setup) => Some(&setup.error),
        _ => None,
    };
    match refused {
        Some(MissingAuthentication) => {
            let sentence = "set cassandra_user and cassandra_password";
            BadConfig(format!("Cassandra asks for a login, and none is set: {sentence}."))
        }
        Some(Refused(DbError::AuthenticationError | DbError::Unauthorized, _)) => {
            let sentence = "correct cassandra_user or cassandra_password";
            BadConfig(format!("Cassandra does not know this user with this password: {sentence}."))
        }
        _ => silent(config, &cause(last)),
    }
}

fn silent(config: &CassandraConfig, said: &str) -> BadConfig {
    let points = config.contact_points.join(",");
    BadConfig(format!(
        "cassandra is \"{points}\", where no Cassandra answers ({said}): start it, or give the addresses of its nodes."
    ))
}

/// What is at the bottom of an error, on one line: what the driver was doing at the time is no news to an operator.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let bottom = std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error);
    bottom.to_string().lines().next().unwrap_or_default().to_owned()
}
