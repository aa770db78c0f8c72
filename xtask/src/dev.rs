//! `cargo xtask dev`: the whole system on this machine, until Ctrl-C.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::artifacts::{self, Profile};
use crate::process::Process;
use crate::repo::{command, find_program, root, say, target};
use crate::{demo, roles, tools};

/// Known to everybody, as the local key for devices is.
pub(crate) const SERVICE_TOKEN: &str = "local-service-token";

/// wrangler compiles the edge before it answers.
const STARTING: Duration = Duration::from_secs(15 * 60);

/// Arguments of `cargo xtask dev`.
#[derive(Args)]
pub(crate) struct Options {
    /// The platform that the edge runs on
    #[arg(long, value_enum, default_value = "workers")]
    edge: Edge,
    /// What keeps the data: a folder, or Cassandra and Redis, with each role of the origin as a process
    #[arg(long, value_enum, default_value = "embedded")]
    stores: Stores,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Edge {
    Workers,
    Spin,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stores {
    Embedded,
    Cassandra,
}

/// Where everything listens.
struct Addresses {
    page: SocketAddr,
    edge: SocketAddr,
    origin: SocketAddr,
}

/// Builds, starts and watches; ends every child, whichever way it ends itself.
pub(crate) fn run(options: &Options) -> Result<()> {
    say("building the origin");
    let origin = artifacts::origin(Profile::Debug)?;
    if options.edge == Edge::Workers {
        // wrangler builds the bundle itself, and again whenever a source changes; the tools are better got here, where
        // their progress is seen.
        tools::worker_build()?;
    }
    if options.stores == Stores::Cassandra {
        tools::redis_server()?;
        tools::java()?;
        tools::maven()?;
    }
    let runtime = tokio::runtime::Runtime::new().context("the runtime could not be started")?;
    runtime.block_on(async {
        let page = listener(8787, "demo page").await?;
        let addresses = Addresses {
            page: page.local_addr()?,
            edge: listener(8788, "edge").await?.local_addr()?,
            origin: listener(8790, "origin").await?.local_addr()?,
        };
        let mut edge = match options.edge {
            Edge::Workers => wrangler(&addresses)?,
            Edge::Spin => spin(&addresses)?,
        };
        // Children end when these are dropped, the later ones first: after an error, too.
        let mut deployment = None;
        let mut children = Vec::new();
        let mut parts = vec![("origin", format!("http://{}/readyz", addresses.origin))];
        match options.stores {
            Stores::Embedded => children.push(start_origin(origin, addresses.origin)?),
            Stores::Cassandra => {
                let starting = spawn_blocking(move || roles::start(&origin, addresses.origin));
                let deployment = tokio::select! {
                    started = starting => deployment.insert(started.context("the databases could not be started")??),
                    // What is half started ends when it has started: the runtime waits for it.
                    stopped = asked_to_stop() => return stopped,
                };
                children.append(&mut deployment.roles);
                parts.extend(deployment.urls.iter().map(|url| ("origin", format!("{url}/readyz"))));
            }
        }
        children.push(Process::start("edge", &mut edge)?);
        tokio::spawn(demo::run(page, format!("http://{}", addresses.edge)));
        if options.edge == Edge::Spin {
            tokio::spawn(flush_every_second(addresses.edge));
        }
        tokio::select! {
            ended = watch(&mut children) => ended,
            ready = wait_until_ready(&addresses, parts) => match ready {
                Ok(()) => {
                    println!("\nPlayhead is ready: http://{}/demo/\n", addresses.page);
                    tokio::select! {
                        ended = watch(&mut children) => ended,
                        stopped = asked_to_stop() => stopped,
                    }
                }
                error => error,
            },
            stopped = asked_to_stop() => stopped,
        }
    })
}

/// Listens on `port`, or on any free one if it is taken. Of the children's ports the listener is dropped again at
/// once: it has only chosen them.
async fn listener(port: u16, what: &str) -> Result<TcpListener> {
    if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        return Ok(listener);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("there is no free port")?;
    say(&format!("port {port} is taken, so the {what} listens on {}", listener.local_addr()?));
    Ok(listener)
}

fn start_origin(binary: PathBuf, listen: SocketAddr) -> Result<Process> {
    let mut origin = command(binary);
    origin.args(["serve", "--listen", &listen.to_string(), "--service-token", SERVICE_TOKEN, "--data-dir"]);
    Process::start("origin", origin.arg(data_folder("origin")?))
}

/// `wrangler dev` and not workerd alone, though that has fewer parts: it compiles again when a source changes, it reads
/// the same `wrangler.toml` that is deployed, and it is what developers of Workers know.
fn wrangler(addresses: &Addresses) -> Result<Command> {
    let mut wrangler = command(tools::npm_program("wrangler"));
    wrangler
        .args(["dev", "--ip", "127.0.0.1", "--port", &addresses.edge.port().to_string()])
        .args(["--var", &format!("ORIGIN_URL:http://{}", addresses.origin)])
        .args(["--var", &format!("ALLOWED_ORIGINS:{}", allowed_origins(addresses))])
        .args(["--show-interactive-dev-session=false", "--log-level=warn", "--persist-to"])
        .arg(data_folder("workers")?)
        .env("WRANGLER_SEND_METRICS", "false")
        // It would ask Cloudflare where this machine is, which fails without a network.
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
    Ok(wrangler)
}

fn spin(addresses: &Addresses) -> Result<Command> {
    let state = data_folder("spin")?;
    let origin = format!("http://{}", addresses.origin);
    let mut variables = spin_variables()?;
    variables.insert("origin_url".to_owned(), origin.clone());
    variables.insert("allowed_origins".to_owned(), allowed_origins(addresses));
    let component = artifacts::spin()?;
    let mut spin = if let Some(program) = find_program(&["spin"]) {
        let mut spin = command(program);
        spin.args(["up", "--listen", &addresses.edge.to_string(), "--state-dir"]).arg(state);
        spin
    } else {
        say("spin is not installed, so the project's own host runs the component");
        let mut host = command(artifacts::spin_host(Profile::Debug)?);
        host.arg("--component").arg(component).arg("--state-dir").arg(state);
        host.args(["--listen", &addresses.edge.to_string(), "--allow-origin", &origin]);
        host
    };
    for (name, value) in variables {
        spin.arg("--variable").arg(format!("{name}={value}"));
    }
    Ok(spin)
}

/// The variables of `spin.toml` with their defaults, which the project's own host does not read by itself.
fn spin_variables() -> Result<BTreeMap<String, String>> {
    let manifest = std::fs::read_to_string(root().join("spin.toml")).context("spin.toml cannot be read")?;
    let manifest: toml::Table = manifest.parse().context("spin.toml is not TOML")?;
    let variables =
        manifest.get("variables").and_then(toml::Value::as_table).context("spin.toml has no [variables]")?;
    let default = |variable: &toml::Value| variable.get("default")?.as_str().map(str::to_owned);
    Ok(variables.iter().filter_map(|(name, variable)| Some((name.clone(), default(variable)?))).collect())
}

fn allowed_origins(addresses: &Addresses) -> String {
    let port = addresses.page.port();
    format!("http://127.0.0.1:{port} http://localhost:{port}")
}

/// A folder that stays from one run to the next, as a deployment's would.
fn data_folder(name: &str) -> Result<PathBuf> {
    let folder = target().join("dev").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    Ok(folder)
}

/// Returns once each part answers. The edge answers a request without a token, if only to refuse it.
async fn wait_until_ready(addresses: &Addresses, mut parts: Vec<(&str, String)>) -> Result<()> {
    let page = root().join("edge/player/demo/index.html");
    if !page.is_file() {
        bail!("the demo page is not there: {}", page.display());
    }
    parts.push(("edge", format!("http://{}/v1/streams", addresses.edge)));
    parts.push(("demo page", format!("http://{}/demo/", addresses.page)));
    for (what, url) in parts {
        let answers = async {
            while status(&url).await.is_none_or(|status| status >= 500) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(STARTING, answers).await.with_context(|| format!("the {what} does not answer at {url}"))?;
    }
    Ok(())
}

/// Spin has no timer of its own: this one stands for the operator's, so that what a device has sent last reaches the
/// origin though no request follows.
async fn flush_every_second(edge: SocketAddr) {
    let url = format!("http://{edge}/internal/flush");
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused_at: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let url = url.clone();
        let answer = spawn_blocking(move || {
            agent().post(&url).header("authorization", format!("Bearer {SERVICE_TOKEN}")).send_empty()
        });
        let status = answer.await.ok().and_then(Result::ok).map(|answer| answer.status().as_u16());
        // Once a minute is enough, and nothing that does not answer yet is worth a word.
        if let Some(status) = status.filter(|status| *status >= 400)
            && refused_at.is_none_or(|at| at.elapsed() > Duration::from_secs(60))
        {
            say(&format!("the edge answered {status} when asked to flush"));
            refused_at = Some(Instant::now());
        }
    }
}

async fn status(url: &str) -> Option<u16> {
    let url = url.to_owned();
    let answer = spawn_blocking(move || agent().get(&url).call());
    Some(answer.await.ok()?.ok()?.status().as_u16())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder();
    config.http_status_as_error(false).timeout_global(Some(Duration::from_secs(10))).build().into()
}

/// Fails as soon as a child has ended: none should.
async fn watch(children: &mut [Process]) -> Result<()> {
    loop {
        if let Some(obituary) = children.iter_mut().find_map(Process::obituary) {
            bail!(obituary);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Returns once Ctrl-C or SIGTERM has come.
pub(crate) async fn asked_to_stop() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("stopping");
    Ok(())
}
