//! The configuration: one struct, from a file, the environment and flags, the later winning.

mod stores;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use thiserror::Error;

pub use self::stores::{CassandraConfig, Login, RedisConfig, Replication, Stores};

/// What can be set, and where nothing is set, what holds.
///
/// Every option is a key of the TOML file (`data_dir`), a variable (`PLAYHEAD_ORIGIN_DATA_DIR`) and a flag
/// (`--data-dir`).
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to listen [default: 127.0.0.1:8790]
    #[arg(long, env = "PLAYHEAD_ORIGIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Which of collect, process and provide to run, with commas between [default: all three]
    #[arg(long, env = "PLAYHEAD_ORIGIN_ROLES", value_name = "ROLES")]
    pub roles: Option<String>,
    /// What keeps the data: `embedded`, in a folder of this machine, or `cassandra`, in Cassandra and Redis [default:
    /// embedded]
    #[arg(long, env = "PLAYHEAD_ORIGIN_STORE", value_name = "STORE")]
    pub store: Option<String>,
    /// Some nodes of Cassandra, with commas between; the others are found through them
    #[arg(long, env = "PLAYHEAD_ORIGIN_CASSANDRA", value_name = "ADDRESS:PORT,…")]
    pub cassandra: Option<String>,
    /// The keyspace in Cassandra [default: playhead]
    #[arg(long, env = "PLAYHEAD_ORIGIN_CASSANDRA_KEYSPACE", value_name = "NAME")]
    pub cassandra_keyspace: Option<String>,
    /// How many copies of each row the keyspace has, where `schema apply` creates it: in every data centre (`3`), or
    /// in each of some (`east:3,west:3`) [default: 3]
    #[arg(long, env = "PLAYHEAD_ORIGIN_CASSANDRA_REPLICATION", value_name = "COPIES")]
    pub cassandra_replication: Option<String>,
    /// The data centre whose nodes are asked; to be set where Cassandra has several [default: the only one]
    #[arg(long, env = "PLAYHEAD_ORIGIN_CASSANDRA_DATACENTER", value_name = "NAME")]
    pub cassandra_datacenter: Option<String>,
    /// Who to log in to Cassandra as [default: nobody]
    #[arg(long, env = "PLAYHEAD_ORIGIN_CASSANDRA_USER", value_name = "NAME")]
    pub cassandra_user: Option<String>,
    /// That user's password. Prefer the file or the environment
    #[arg(long, env = "PLAYHEAD_ORIGIN_CASSANDRA_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub cassandra_password: Option<Secret>,
    /// The URL of a Redis, `redis://[user:password@]host:port`; of a cluster the URLs of some nodes, with commas
    /// between. Prefer the file or the environment where there is a password
    #[arg(long, env = "PLAYHEAD_ORIGIN_REDIS", value_name = "URL", hide_env_values = true)]
    pub redis: Option<Secret>,
    /// What every key in Redis begins with [default: playhead]
    #[arg(long, env = "PLAYHEAD_ORIGIN_REDIS_PREFIX", value_name = "PREFIX")]
    pub redis_prefix: Option<String>,
    /// Into how many parts the accounts are divided in Redis; fixed for a deployment [default: 64]
    #[arg(long, env = "PLAYHEAD_ORIGIN_PARTITIONS", value_name = "PARTITIONS")]
    pub partitions: Option<u16>,
    /// The folder that holds everything of the embedded store; made if it is not there [default: playhead-data]
    #[arg(long, env = "PLAYHEAD_ORIGIN_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// What edges present as `Authorization: Bearer …`; required, 16 characters at least. Other users of the
    /// machine can read flags: prefer the file or the environment
    #[arg(long, env = "PLAYHEAD_ORIGIN_SERVICE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub service_token: Option<Secret>,
    /// Memory for reads of the embedded store, in MiB; a fifth of the machine's is good [default: 256]
    #[arg(long, env = "PLAYHEAD_ORIGIN_CACHE_MIB", value_name = "MIB")]
    pub cache_mib: Option<u64>,
    /// How many requests may wait for the store before edges are told to come again [default: 4096]
    #[arg(long, env = "PLAYHEAD_ORIGIN_QUEUE", value_name = "REQUESTS")]
    pub queue: Option<usize>,
    /// How long a stopping process waits for requests to finish, in milliseconds [default: 10000]
    #[arg(long, env = "PLAYHEAD_ORIGIN_GRACE_MS", value_name = "MS")]
    pub grace_ms: Option<u64>,
    /// What to log: `error`, `warn`, `info`, `debug`, or a filter such as `info,playhead_origin=debug` [default:
    /// info,scylla=warn]
    #[arg(long, env = "PLAYHEAD_ORIGIN_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

/// The settings with every default filled in, checked.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the fields are those of [`Settings`]
pub struct Config {
    pub listen: SocketAddr,
    pub roles: Roles,
    pub stores: Stores,
    pub data_dir: PathBuf,
    pub service_token: Secret,
    pub cache_mib: u64,
    pub queue: usize,
    pub grace_ms: u64,
    pub log: String,
}

/// One sentence: which setting is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct BadConfig(pub String);

/// Which roles a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Roles {
    pub collect: bool,
    pub process: bool,
    pub provide: bool,
}

impl Roles {
    /// All of them.
    pub const ALL: Self = Self { collect: true, process: true, provide: true };
}

/// Text that shows itself to nobody who prints it.
#[derive(Clone)]
pub struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    /// By hand, because an error of serde's own shows what is there instead of a text.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self).map_err(|_| D::Error::custom("a secret is a text in quotes"))
    }
}

impl Secret {
    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

impl Settings {
    /// Reads a TOML file; a key that is no setting is refused.
    pub fn from_file(path: &Path) -> Result<Self, BadConfig> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            BadConfig(format!("the file {} of --config cannot be read ({error}): give one that can.", path.display()))
        })?;
        toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            let what = error.message().lines().next().unwrap_or_default();
            BadConfig(format!("{}, line {line}: {what}: correct or remove it.", path.display()))
        })
    }

    /// These, and where they are silent, the `other`.
    pub fn or(self, other: Self) -> Self {
        Self {
            listen: self.listen.or(other.listen),
            roles: self.roles.or(other.roles),
            store: self.store.or(other.store),
            cassandra: self.cassandra.or(other.cassandra),
            cassandra_keyspace: self.cassandra_keyspace.or(other.cassandra_keyspace),
            cassandra_replication: self.cassandra_replication.or(other.cassandra_replication),
            cassandra_datacenter: self.cassandra_datacenter.or(other.cassandra_datacenter),
            cassandra_user: self.cassandra_user.or(other.cassandra_user),
            cassandra_password: self.cassandra_password.or(other.cassandra_password),
            redis: self.redis.or(other.redis),
            redis_prefix: self.redis_prefix.or(other.redis_prefix),
            partitions: self.partitions.or(other.partitions),
            data_dir: self.data_dir.or(other.data_dir),
            service_token: self.service_token.or(other.service_token),
            cache_mib: self.cache_mib.or(other.cache_mib),
            queue: self.queue.or(other.queue),
            grace_ms: self.grace_ms.or(other.grace_ms),
            log: self.log.or(other.log),
        }
    }
}

impl TryFrom<Settings> for Config {
    type Error = BadConfig;

    fn try_from(settings: Settings) -> Result<Self, BadConfig> {
        let stores = Stores::try_from(&settings)?;
        let listen = settings.listen.unwrap_or_else(|| "127.0.0.1:8790".to_owned());
        let service_token = settings.service_token.ok_or_else(|| {
            bad("service_token is not set: set PLAYHEAD_ORIGIN_SERVICE_TOKEN to the secret that the edges present.")
        })?;
        // What a header cannot carry, no edge can present.
        let fits = |token: &str| token.len() >= 16 && token.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits(service_token.reveal()) {
            return Err(bad("service_token is too weak: give at least 16 printable ASCII characters without spaces."));
        }
        let (cache_mib, queue) = (settings.cache_mib.unwrap_or(256), settings.queue.unwrap_or(4096));
        if !(1..=1 << 20).contains(&cache_mib) {
            return Err(bad("cache_mib is out of range: give 1 to 1048576."));
        }
        if !(1..=1 << 20).contains(&queue) {
            return Err(bad("queue is out of range: give 1 to 1048576."));
        }
        Ok(Self {
            listen: listen.parse().map_err(|_| {
                bad(format!("listen is \"{listen}\", which is no address: give one such as 127.0.0.1:8790."))
            })?,
            roles: settings.roles.as_deref().map_or(Ok(Roles::ALL), roles)?,
            stores,
            data_dir: settings.data_dir.unwrap_or_else(|| "playhead-data".into()),
            service_token,
            cache_mib,
            queue,
            grace_ms: settings.grace_ms.unwrap_or(10_000),
            // Cassandra's driver has a word for each connection.
            log: settings.log.unwrap_or_else(|| "info,scylla=warn".to_owned()),
        })
    }
}

fn bad(sentence: impl Into<String>) -> BadConfig {
    BadConfig(sentence.into())
}

fn roles(list: &str) -> Result<Roles, BadConfig> {
    let mut roles = Roles { collect: false, process: false, provide: false };
    for word in list.split(',').map(str::trim) {
        match word {
            "collect" => roles.collect = true,
            "process" => roles.process = true,
            "provide" => roles.provide = true,
            _ => {
                let sentence = "which is no role: give some of collect,process,provide.";
                return Err(bad(format!("roles names \"{word}\", {sentence}")));
            }
        }
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Result<Config, BadConfig> {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("origin.toml");
        std::fs::write(&file, toml).unwrap();
        let settings = Settings::from_file(&file);
        settings.and_then(Config::try_from)
    }

    const TOKEN: &str = "service_token = \"0123456789abcdef\"\n";

    #[test]
    fn a_token_is_all_that_must_be_set() {
        let config = config(TOKEN).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8790");
        assert_eq!(config.roles, Roles::ALL);
    }

    #[test]
    fn wrong_settings_are_named_in_one_sentence() {
        for (toml, name) in [
            ("", "service_token"),
            ("service_token = \"short\"", "service_token"),
            ("service_token = \"0123456789 abcdef\"", "service_token"),
            ("service_token = \"0123456789abcdef\"\nlisten = \"here\"", "listen"),
            ("service_token = \"0123456789abcdef\"\nroles = \"collect,cook\"", "cook"),
            ("service_token = \"0123456789abcdef\"\nroles = \"\"", "roles"),
            ("service_token = \"0123456789abcdef\"\nlisten_on = \"127.0.0.1:1\"", "listen_on"),
            ("service_token = \"0123456789abcdef\"\nqueue = 0", "queue"),
            ("service_token = \"0123456789abcdef\"\ncache_mib = \"much\"", "line 2"),
            ("listen = ", "line 1"),
            ("service_token = 1234567890123456", "in quotes"),
        ] {
            let sentence = config(toml).expect_err(toml).0;
            assert!(sentence.contains(name), "{sentence}");
            assert!(!sentence.contains('\n') && sentence.ends_with('.'), "{sentence}");
            assert!(!sentence.contains("1234567890123456"), "{sentence}");
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let flags = Settings { roles: Some("provide".to_owned()), ..Settings::default() };
        let file = toml::from_str(&format!("{TOKEN}roles = \"collect\"\nqueue = 7")).unwrap();
        let config = Config::try_from(flags.or(file)).unwrap();
        assert_eq!(config.roles, Roles { collect: false, process: false, provide: true });
        assert_eq!(config.queue, 7);
    }

    #[test]
    fn the_token_is_never_printed() {
        let printed = format!("{:?}", config(TOKEN).unwrap());
        assert!(!printed.contains("0123456789abcdef") && printed.contains("redacted"), "{printed}");
    }
}
