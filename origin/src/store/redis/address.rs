//! Where Redis is, as it is written in the configuration.

use std::fmt;
use std::str::FromStr;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::Unusable;

/// One server, or some nodes of a cluster from which the others are found. May hold a password, and shows none.
#[derive(Clone)]
pub struct Address {
    /// With the credentials for all nodes in the first one.
    pub(super) seeds: Vec<Endpoint>,
    pub(super) cluster: bool,
}

/// One server, and how to sign in.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    info: ConnectionInfo,
}

const CLUSTER: &str = "redis+cluster://";

impl FromStr for Address {
    type Err = Unusable;

    /// `redis://[[user]:password@]host[:port][/database]` is one server. Several of them with commas between are nodes
    /// of a cluster, and so is one that begins with `redis+cluster://`.
    fn from_str(text: &str) -> Result<Self, Unusable> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let cluster = parts.len() > 1 || text.starts_with(CLUSTER);
        let seeds = parts.iter().map(|part| Endpoint::parse(part)).collect::<Result<Vec<_>, _>>()?;
        if cluster && seeds.iter().any(|seed| seed.info.redis_settings().db() != 0) {
            return Err(Unusable("a Redis cluster has only database 0: leave the number off its URL".to_owned()));
        }
        Ok(Self { seeds, cluster })
    }
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, Unusable> {
        // Never with the text, which may hold a password.
        let wrong = || Unusable("the URL of Redis is not of the form redis://host:port".to_owned());
        if text.starts_with("rediss://") {
            return Err(Unusable(
                "Redis over TLS (rediss://) is not supported: use redis:// in a private network".into(),
            ));
        }
        let url = text.strip_prefix(CLUSTER).map(|rest| format!("redis://{rest}"));
        let info = url.as_deref().unwrap_or(text).into_connection_info().map_err(|_| wrong())?;
        match info.addr().clone() {
            ConnectionAddr::Tcp(host, port) => Ok(Self { host, port, info }),
            _ => Err(wrong()),
        }
    }

    /// Another node of the same cluster.
    pub(super) fn at(&self, host: &str, port: u16) -> Self {
        let info = self.info.clone().set_addr(ConnectionAddr::Tcp(host.to_owned(), port));
        Self { host: host.to_owned(), port, info }
    }

    pub(super) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("seeds", &self.seeds).field("cluster", &self.cluster).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_url_is_a_server_and_several_are_a_cluster() {
        for (text, expected) in [
            ("redis://localhost", Ok(("[localhost:6379]", false))),
            ("redis://user:secret@redis.internal:7000/3", Ok(("[redis.internal:7000]", false))),
            ("redis+cluster://:secret@a:1", Ok(("[a:1]", true))),
            ("redis://a:1, redis://b:2", Ok(("[a:1, b:2]", true))),
            ("redis://a:1,redis://b:2/1", Err("a Redis cluster has only database 0: leave the number off its URL")),
            (
                "rediss://:secret@a:1",
                Err("Redis over TLS (rediss://) is not supported: use redis:// in a private network"),
            ),
            ("http://:secret@a", Err("the URL of Redis is not of the form redis://host:port")),
            ("redis://:secret@a:port", Err("the URL of Redis is not of the form redis://host:port")),
            ("", Err("the URL of Redis is not of the form redis://host:port")),
        ] {
            let parsed = text.parse::<Address>().map(|address| {
                assert!(!format!("{address:?}").contains("secret"));
                (format!("{:?}", address.seeds), address.cluster)
            });
            let expected = expected.map(|(seeds, cluster)| (seeds.to_owned(), cluster));
            assert_eq!(parsed.map_err(|unusable| unusable.to_string()), expected.map_err(str::to_owned), "{text}");
        }
    }
}
