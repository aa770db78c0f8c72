//! The origin on its embedded store: collecting beside a bare fjall loop, providing beside a bare hyper server.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use playhead_shared::heartbeat::{Event, Heartbeat};
use playhead_shared::id::SessionId;
use playhead_shared::moves::{Viewer, heartbeat_moves};
use playhead_shared::register::Kind;
use playhead_shared::rules::Rules;
use playhead_shared::time::{Millis, Stamp};
use playhead_shared::wire::{BATCHES, Batch, BatchAnswer, Lease, READS, Read, What, WireEntry};
use playhead_tests::origin::{Origin, SERVICE_TOKEN};
use playhead_tests::{Server, free_port, now};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::bare_server::{CACHE_BYTES, KEYSPACE};
use crate::load::{Answer, Connection, Traffic, address, closed, post};
use crate::report::{Figure, Turns};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Edges that hand in at once.
const CLIENTS: usize = 16;
/// Edges that ask at once.
const READERS: usize = 32;
/// Different batches, of different accounts, that are sent in turn.
const BATCHES_MADE: usize = 512;
/// Three registers each: with the profile's, its session's and its title's.
const HEARTBEATS: usize = 34;
/// Memory for what is newly written, as the origin gives its facts.
const MEMTABLE_BYTES: u64 = 64 << 20;

/// `origin_collect`
pub(crate) fn collect(runtime: &Runtime) -> Result<Vec<Figure>> {
    let origin = Origin::start()?;
    let to = address(&origin.url())?;
    let (plain, leased) = (Arc::new(Batches::new(false)?), Arc::new(Batches::new(true)?));
    let per_batch = plain.registers_per_batch();
    let folder = TempDir::with_prefix("playhead-bench-")?;
    let bare = Bare::open(folder.path())?;

    // First seen, every session makes an event; what is measured is what follows for hours.
    runtime.block_on(closed(to, CLIENTS, ROUND, &plain))?;
    runtime.block_on(closed(to, CLIENTS, ROUND, &leased))?;
    let concurrencies = [1, 4, CLIENTS].map(|threads| (bare.write(&plain, threads, Duration::from_secs(1)), threads));
    let mut best = (0.0, 1);
    for (rate, threads) in concurrencies {
        let rate = rate?;
        best = if rate > best.0 { (rate, threads) } else { best };
    }
    let (mut turns, mut with_leases) = (Turns::default(), Turns::default());
    for _ in 0..ROUNDS {
        let collected = runtime.block_on(closed(to, CLIENTS, ROUND, &plain))? * per_batch;
        let written = bare.write(&plain, best.1, ROUND)? * per_batch;
        let leases = runtime.block_on(closed(to, CLIENTS, ROUND, &leased))? * per_batch;
        turns.0.push((collected, written));
        with_leases.0.push((leases, written));
    }
    let note = format!("{CLIENTS} in flight; baseline at its best: {} threads", best.1);
    Ok(vec![
        Figure::beside("origin_collect", "registers/s", &turns, Some(0.7)).note(&note),
        Figure::beside("origin_collect_with_leases", "registers/s", &with_leases, None)
            .note("a lease beside each heartbeat, which the baseline has not"),
    ])
}

/// `origin_provide`
pub(crate) fn provide(runtime: &Runtime) -> Result<Vec<Figure>> {
    let origin = Origin::start()?;
    let to = address(&origin.url())?;
    let batches = Arc::new(Batches::new(false)?);
    let folder = TempDir::with_prefix("playhead-bench-")?;
    let data = folder.path().join("data");
    runtime.block_on(async {
        let mut connection = Connection::open(to).await?;
        for _ in 0..BATCHES_MADE {
            let mut request = Vec::new();
            batches.next(&mut request);
            ensure!(batches.is_good(&connection.ask(&request).await?), "a batch was not taken");
        }
        Ok(())
    })?;
    Bare::open(&data)?.write_each_once(&batches)?;

    let mut server = Server::new("bare server", folder.path().join("log"));
    let bare = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare-server", "--listen", &bare.to_string(), "--data"]).arg(&data);
    server.start(&mut command, || std::net::TcpStream::connect(bare).is_ok())?;

    let resume_points = Arc::new(Reads::of_origin(&batches)?);
    let keys = Arc::new(Reads::of_bare_server(&batches));
    let mut turns = Turns::default();
    for round in 0..=ROUNDS {
        let provided = runtime.block_on(closed(to, READERS, ROUND, &resume_points))?;
        let read = runtime.block_on(closed(bare, READERS, ROUND, &keys))?;
        // The first is for the caches to fill.
        if round > 0 {
            turns.0.push((provided, read));
        }
    }
    Ok(vec![Figure::beside("origin_provide", "requests/s", &turns, Some(0.8)).note(&format!("{READERS} connections"))])
}

/// Batches as edges post them, over and over with newer stamps.
struct Batches {
    made: Vec<Made>,
    turn: AtomicU64,
}

struct Made {
    entries: Vec<WireEntry>,
    body: Vec<u8>,
    /// Where in the body the stamps are.
    stamps: Vec<usize>,
    /// Where the times of the leases are.
    times: Vec<usize>,
}

impl Batches {
    fn new(with_leases: bool) -> Result<Self> {
        let mut accounts: Vec<usize> = (0..BATCHES_MADE * HEARTBEATS).collect();
        fastrand::Rng::with_seed(7).shuffle(&mut accounts);
        let made =
            accounts.chunks(HEARTBEATS).map(|accounts| Made::new(accounts, with_leases)).collect::<Result<_>>()?;
        Ok(Self { made, turn: AtomicU64::new(0) })
    }

    /// Which batch is next, and its stamp.
    fn next_turn(&self) -> (&Made, Stamp) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (&self.made[turn as usize % self.made.len()], Stamp(Stamp::from(now()).0 + turn % 1_000))
    }

    fn registers_per_batch(&self) -> f64 {
        self.made[0].entries.len() as f64
    }
}

impl Made {
    fn new(accounts: &[usize], with_leases: bool) -> Result<Self> {
        let mut batch = Batch::default();
        for account in accounts {
            let (entries, lease) = heartbeat(*account)?;
            batch.registers.extend(entries);
            batch.leases.extend(Some(lease).filter(|_| with_leases));
        }
        let body = minicbor::to_vec(&batch)?;
        let find = |entry: &WireEntry| body.windows(entry.register.len()).position(|part| part == entry.register);
        // A register that never changes has no stamp to renew.
        let changing = batch.registers.iter().filter(|entry| entry.kind != Kind::Profile as u8);
        let stamps = changing.map(find).collect::<Option<Vec<_>>>().context("a register is not in its batch")?;
        let distinct: BTreeSet<_> = stamps.iter().collect();
        ensure!(distinct.len() == stamps.len(), "two registers are equal");
        let marker = batch.leases.first().map(|lease| lease.observed_at.0.to_be_bytes());
        let is_time = |at: &usize| marker.is_some_and(|marker| body[*at..].starts_with(&marker));
        let times: Vec<_> = (0..body.len()).filter(is_time).collect();
        ensure!(times.len() == batch.leases.len(), "a lease's time is not where it was looked for");
        Ok(Self { entries: batch.registers, body, stamps, times })
    }
}

fn heartbeat(account: usize) -> Result<(Vec<WireEntry>, Lease)> {
    let (profile, device) = ("profile-1".parse()?, format!("living-room-{account}").parse()?);
    let viewer =
        Viewer { account: format!("account-{account}").parse()?, profile, device, streams: 4, incognito: false };
    let position_ms = 20_000 + account as u64;
    let beat = Heartbeat {
        session: SessionId::of_birth(now(), account as u64),
        title: title(account).parse()?,
        event: Event::Progress,
        playing: true,
        observed_at: now(),
        moved_at: now(),
        position_ms,
        duration_ms: Some(7_200_000),
        watched_ms: position_ms,
        furthest_ms: position_ms,
        credits_ms: None,
        series: None,
        next_title: None,
    };
    let lease = Lease {
        account: viewer.account.clone(),
        session: beat.session,
        profile: viewer.profile.clone(),
        device: viewer.device.clone(),
        title: beat.title.clone(),
        // Like nothing else in a batch, and to be replaced.
        observed_at: Millis(0x1234_5678_9abc),
        stopped: false,
        playing: true,
        limit: viewer.streams,
        incognito: false,
        age_ms: 0,
        still_ms: 0,
    };
    let moves = heartbeat_moves(&viewer, &beat, &Rules::default());
    Ok((moves.into_iter().map(WireEntry::from).collect(), lease))
}

fn title(account: usize) -> String {
    format!("film-{}", account % 97)
}

impl Traffic for Batches {
    fn next(&self, request: &mut Vec<u8>) {
        let (made, stamp) = self.next_turn();
        let authorization = format!("authorization: Bearer {SERVICE_TOKEN}\r\n");
        request.extend_from_slice(post(BATCHES, &authorization, made.body.len()).as_bytes());
        let body = request.len();
        request.extend_from_slice(&made.body);
        for at in &made.stamps {
            request[body + at..body + at + 8].copy_from_slice(&stamp.0.to_be_bytes());
        }
        for at in &made.times {
            request[body + at..body + at + 8].copy_from_slice(&stamp.millis().0.to_be_bytes());
        }
    }

    fn is_good(&self, answer: &Answer<'_>) -> bool {
        let read = |body| minicbor::decode::<BatchAnswer>(body);
        answer.status == 200 && read(answer.body).is_ok_and(|answer| answer.unread.is_empty())
    }
}

/// fjall, and nothing around it.
struct Bare {
    database: Database,
    registers: Keyspace,
}

impl Bare {
    fn open(folder: &Path) -> Result<Self> {
        let database = Database::builder(folder).cache_size(CACHE_BYTES).manual_journal_persist(true).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let registers = database.keyspace(KEYSPACE, options)?;
        Ok(Self { database, registers })
    }

    /// Writes batches from so many threads, each synced before the next; returns batches a second.
    fn write(&self, batches: &Batches, threads: usize, lasting: Duration) -> Result<f64> {
        let begin = Instant::now();
        let until_over = || {
            let mut written = 0_u64;
            while begin.elapsed() < lasting {
                let (made, stamp) = batches.next_turn();
                self.write_one(made, stamp)?;
                written += 1;
            }
            anyhow::Ok(written)
        };
        let written = thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(until_over)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))))
                .sum()
        });
        Ok(sum(written)? / begin.elapsed().as_secs_f64())
    }

    fn write_each_once(&self, batches: &Batches) -> Result<()> {
        batches.made.iter().try_for_each(|made| self.write_one(made, now().into()))
    }

    fn write_one(&self, made: &Made, stamp: Stamp) -> Result<()> {
        let mut batch = self.database.batch();
        for entry in &made.entries {
            let mut register = entry.register.clone();
            if entry.kind != Kind::Profile as u8 {
                register[..8].copy_from_slice(&stamp.0.to_be_bytes());
            }
            batch.insert(&self.registers, key(entry), register);
        }
        batch.commit()?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}

fn sum(written: Result<u64>) -> Result<f64> {
    Ok(written? as f64)
}

fn key(entry: &WireEntry) -> Vec<u8> {
    let WireEntry { account, profile, kind, name, .. } = entry;
    [account.as_bytes(), &[0], profile.as_bytes(), &[0, *kind], name.as_bytes()].concat()
}

/// Requests for one resume point each, of random accounts.
struct Reads {
    requests: Vec<Vec<u8>>,
    /// Anything shorter holds no resume point.
    shortest: usize,
}

impl Reads {
    fn of_origin(batches: &Batches) -> Result<Self> {
        let authorization = format!("authorization: Bearer {SERVICE_TOKEN}\r\n");
        let request = |entry: &WireEntry| {
            let titles = What::Titles(vec![entry.name.parse()?]);
            let read = Read { account: entry.account.parse()?, profile: entry.profile.parse()?, what: titles };
            let body = minicbor::to_vec(read)?;
            anyhow::Ok([post(READS, &authorization, body.len()).as_bytes(), &body].concat())
        };
        let shortest = 20 + latest(batches).map(|entry| entry.register.len()).min().unwrap_or_default();
        Ok(Self { requests: latest(batches).map(request).collect::<Result<_>>()?, shortest })
    }

    fn of_bare_server(batches: &Batches) -> Self {
        let request = |entry: &WireEntry| {
            let key = key(entry);
            [post("/", "", key.len()).as_bytes(), &key].concat()
        };
        let shortest = latest(batches).map(|entry| entry.register.len()).min().unwrap_or_default();
        Self { requests: latest(batches).map(request).collect(), shortest }
    }
}

/// The registers that are resume points.
fn latest(batches: &Batches) -> impl Iterator<Item = &WireEntry> {
    batches.made.iter().flat_map(|made| &made.entries).filter(|entry| entry.kind == Kind::Latest as u8)
}

impl Traffic for Reads {
    fn next(&self, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.requests[fastrand::usize(..self.requests.len())]);
    }

    fn is_good(&self, answer: &Answer<'_>) -> bool {
        answer.status == 200 && answer.body.len() >= self.shortest
    }
}
