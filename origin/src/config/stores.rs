//! Which databases keep what the origin keeps, and how to reach them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{BadConfig, Secret, Settings, bad};

/// The stores of a deployment. What is not chosen is not looked at.
#[derive(Clone, Debug)]
pub enum Stores {
    /// One folder of this machine.
    Embedded,
    /// Facts in Cassandra; streams, signals and the views in Redis.
    Cassandra {
        /// Where the facts are.
        facts: Box<CassandraConfig>,
        /// Where the rest is.
        views: RedisConfig,
    },
}

/// How to reach Cassandra; the fields are the settings of their names.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct CassandraConfig {
    pub contact_points: Vec<String>,
    pub keyspace: String,
    pub datacenter: Option<String>,
    pub login: Option<Login>,
    /// Read by `origin schema apply` alone.
    pub replication: Replication,
}

/// A user of Cassandra.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Login {
    pub user: String,
    pub password: Secret,
}

/// How many copies of each row a new keyspace keeps, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// So many in every data centre.
    Everywhere(u8),
    /// So many in each of these data centres.
    Datacenters(BTreeMap<String, u8>),
}

/// How to reach Redis; the fields are the settings of their names.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RedisConfig {
    /// Secret because a URL can hold a password.
    pub url: Secret,
    pub prefix: String,
    pub partitions: u16,
}

const DEFAULT_KEYSPACE: &str = "playhead";
/// Of three copies one may be away and a quorum is left.
const DEFAULT_REPLICATION: Replication = Replication::Everywhere(3);
const DEFAULT_PREFIX: &str = "playhead";
const DEFAULT_PARTITIONS: u16 = 64;
/// Cassandra's own bound on names of keyspaces.
const LONGEST_KEYSPACE: usize = 48;
/// More would only be more keys to look at.
const MOST_PARTITIONS: u16 = 4096;

impl TryFrom<&Settings> for Stores {
    type Error = BadConfig;

    fn try_from(settings: &Settings) -> Result<Self, BadConfig> {
        match settings.store.as_deref().unwrap_or("embedded") {
            "embedded" => Ok(Self::Embedded),
            "cassandra" => Ok(Self::Cassandra { facts: Box::new(settings.try_into()?), views: settings.try_into()? }),
            other => Err(bad(format!("store is \"{other}\", which is none: give embedded or cassandra."))),
        }
    }
}

impl TryFrom<&Settings> for CassandraConfig {
    type Error = BadConfig;

    fn try_from(settings: &Settings) -> Result<Self, BadConfig> {
        let points = settings.cassandra.as_deref().unwrap_or_default();
        let contact_points: Vec<String> = points.split(',').map(|point| point.trim().to_owned()).collect();
        if contact_points.iter().any(String::is_empty) {
            let sentence = "give the addresses of some nodes, such as 10.0.0.1:9042,10.0.0.2:9042.";
            return Err(bad(format!("cassandra is \"{points}\", which names no node: {sentence}")));
        }
        let keyspace = settings.cassandra_keyspace.clone().unwrap_or_else(|| DEFAULT_KEYSPACE.to_owned());
        // Such names need no quotes in CQL, and so nothing in them can end a quotation.
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = keyspace.starts_with(|first: char| first.is_ascii_lowercase());
        if !begins || !keyspace.bytes().all(word) || keyspace.len() > LONGEST_KEYSPACE {
            let sentence = "give a letter and then letters, digits and _, all small, 48 at most.";
            return Err(bad(format!("cassandra_keyspace is \"{keyspace}\", which is no name: {sentence}")));
        }
        let replication = settings.cassandra_replication.as_deref().map_or(Ok(DEFAULT_REPLICATION), str::parse)?;
        let login = match (&settings.cassandra_user, &settings.cassandra_password) {
            (None, None) => None,
            (Some(user), Some(password)) => Some(Login { user: user.clone(), password: password.clone() }),
            (Some(_), None) => return Err(bad("cassandra_user is set but cassandra_password is not: set both.")),
            (None, Some(_)) => return Err(bad("cassandra_password is set but cassandra_user is not: set both.")),
        };
        Ok(Self { contact_points, keyspace, datacenter: settings.cassandra_datacenter.clone(), login, replication })
    }
}

impl TryFrom<&Settings> for RedisConfig {
    type Error = BadConfig;

    fn try_from(settings: &Settings) -> Result<Self, BadConfig> {
        let url = settings.redis.clone().ok_or_else(|| {
            bad("redis is not set, which store = \"cassandra\" needs: give a URL such as redis://10.0.0.3:6379.")
        })?;
        let prefix = settings.redis_prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        // Braces would move the hash tag that keeps an account's keys in one slot.
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)) {
            let sentence = "give letters, digits and any of -_.: alone.";
            return Err(bad(format!("redis_prefix is \"{prefix}\", which cannot begin a key: {sentence}")));
        }
        let partitions = settings.partitions.unwrap_or(DEFAULT_PARTITIONS);
        if !(1..=MOST_PARTITIONS).contains(&partitions) {
            return Err(bad(format!("partitions is out of range: give 1 to {MOST_PARTITIONS}.")));
        }
        Ok(Self { url, prefix, partitions })
    }
}

impl FromStr for Replication {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        let refused = || {
            let sentence = "give a number of copies, such as 3, or one for each data centre, such as east:3,west:3.";
            bad(format!("cassandra_replication is \"{text}\": {sentence}"))
        };
        let copies = |number: &str| number.parse().ok().filter(|&copies: &u8| copies > 0).ok_or_else(refused);
        if !text.contains(':') {
            return copies(text.trim()).map(Self::Everywhere);
        }
        let mut datacenters = BTreeMap::new();
        for part in text.split(',') {
            let (name, number) = part.trim().rsplit_once(':').ok_or_else(refused)?;
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || !name.bytes().all(fits) {
                return Err(refused());
            }
            datacenters.insert(name.to_owned(), copies(number)?);
        }
        Ok(Self::Datacenters(datacenters))
    }
}

/// As `cassandra_replication` has it.
impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere(copies) => copies.fmt(f),
            Self::Datacenters(datacenters) => {
                let parts: Vec<String> = datacenters.iter().map(|(name, copies)| format!("{name}:{copies}")).collect();
                f.write_str(&parts.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stores(toml: &str) -> Result<Stores, BadConfig> {
        Stores::try_from(&toml::from_str(toml).unwrap())
    }

    const BOTH: &str =
        "store = \"cassandra\"\ncassandra = \"10.0.0.1:9042, cassandra-2\"\nredis = \"redis://:word@r\"\n";

    #[test]
    fn embedded_needs_nothing_and_looks_at_nothing_else() {
        assert!(matches!(stores("cassandra_replication = \"0\"").unwrap(), Stores::Embedded));
    }

    #[test]
    fn cassandra_needs_two_addresses() {
        let Stores::Cassandra { facts, views } = stores(BOTH).unwrap() else { panic!("not Cassandra") };
        assert_eq!(facts.contact_points, ["10.0.0.1:9042", "cassandra-2"]);
        assert_eq!((facts.keyspace.as_str(), facts.replication), ("playhead", Replication::Everywhere(3)));
        assert_eq!((views.prefix.as_str(), views.partitions), ("playhead", 64));
        assert!(facts.login.is_none());
    }

    #[test]
    fn replication_is_written_as_it_is_read() {
        for text in ["1", "3", "east:3", "east:3,west:2"] {
            assert_eq!(text.parse::<Replication>().unwrap().to_string(), text);
        }
        for text in ["", "0", "-1", "many", "east", "east:", "east:0", "ea'st:1", ":1", "east:3,1", "256"] {
            let sentence = text.parse::<Replication>().expect_err(text).0;
            assert!(sentence.starts_with("cassandra_replication is"), "{sentence}");
        }
    }

    #[test]
    fn wrong_settings_are_named_in_one_sentence() {
        for (toml, name) in [
            ("store = \"mysql\"", "store"),
            ("store = \"cassandra\"", "cassandra"),
            ("store = \"cassandra\"\ncassandra = \"a,,b\"", "cassandra"),
            ("store = \"cassandra\"\ncassandra = \"a\"", "redis"),
            (&format!("{BOTH}cassandra_keyspace = \"Play; DROP\""), "cassandra_keyspace"),
            (&format!("{BOTH}cassandra_keyspace = \"_play\""), "cassandra_keyspace"),
            (&format!("{BOTH}cassandra_replication = \"some\""), "cassandra_replication"),
            (&format!("{BOTH}cassandra_user = \"ann\""), "cassandra_password"),
            (&format!("{BOTH}cassandra_password = \"word\""), "cassandra_user"),
            (&format!("{BOTH}redis_prefix = \"a{{b}}\""), "redis_prefix"),
            (&format!("{BOTH}partitions = 0"), "partitions"),
        ] {
            let sentence = stores(toml).expect_err(toml).0;
            assert!(sentence.contains(name), "{sentence}");
            assert!(!sentence.contains('\n') && sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn passwords_are_never_printed() {
        let login = "cassandra_user = \"ann\"\ncassandra_password = \"word\"\n";
        let printed = format!("{:?}", stores(&format!("{BOTH}{login}")).unwrap());
        assert!(!printed.contains("word\"") && !printed.contains(":word@"), "{printed}");
    }
}
