//! Serving: opens the store, starts the roles, and stops them in order.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::serve::ListenerExt;
use playhead_shared::rules::Rules;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{BadConfig, Config, Roles, Stores};
use crate::http::{App, router};
use crate::store::Store;
use crate::store::cassandra::Cassandra;
use crate::store::embedded::{Bounds, Embedded};
use crate::store::redis::{Options, Redis, Unusable};
use crate::{clock, process};

/// How often collect says that it is there, and process looks for work.
const BEAT: Duration = Duration::from_secs(1);
/// How often what is kept no longer is dropped.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Opens the stores and serves on `listener` until `shutdown` resolves; then finishes the requests that run, and returns.
/// The error is a [`BadConfig`] where the operator has to set something before it can go on; any other means that the
/// store could not be opened, or failed for good: start again.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let rules = Rules::default();
    match &config.stores {
        Stores::Embedded => {
            let bounds = Bounds { cache_bytes: config.cache_mib << 20, queue: config.queue };
            let store = Embedded::open(&config.data_dir, bounds, rules.clone())
                .with_context(|| format!("the data folder {} cannot be opened", config.data_dir.display()))?;
            let store = Arc::new(store);
            let failing = Arc::clone(&store);
            serve_with(store, async move { failing.failed().await }, config, rules, listener, shutdown).await
        }
        Stores::Cassandra { facts, views } => {
            let facts = Cassandra::open(facts, config.queue).await?;
            let unusable = |why: Unusable| BadConfig(format!("redis cannot be used: {why}."));
            let options = Options {
                prefix: format!("{}:", views.prefix),
                partitions: views.partitions,
                ..Options::new(views.url.reveal().parse().map_err(unusable)?)
            };
            let store = Redis::connect(options, facts, rules.clone()).await.map_err(unusable)?;
            // Both are asked anew for ever: what is away now comes back.
            serve_with(Arc::new(store), std::future::pending(), config, rules, listener, shutdown).await
        }
    }
}

/// Serves from `store` until `shutdown` or `failed` resolves, the latter if the store can do nothing any more.
async fn serve_with(
    store: Arc<impl Store>,
    failed: impl Future<Output = ()>,
    config: Config,
    rules: Rules,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    if config.roles.collect {
        // Before the first request: after a gap it must find the leases unverified.
        store.alive(clock::now()).await?;
    }
    let (stop, stopping) = watch::channel(false);
    let work = tokio::spawn(work(Arc::clone(&store), config.roles, rules.clone(), stopping.clone()));

    let Config { roles, service_token, .. } = config;
    let app = router(App::new(Arc::clone(&store), roles, service_token, rules));
    let listener = listener.tap_io(|connection| {
        // An answer is one write: waiting for more to send with it only delays it.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
    });
    let graceful = axum::serve(listener, app).with_graceful_shutdown(stopped(stopping));
    let mut server = tokio::spawn(graceful.into_future());

    let failed = tokio::select! {
        () = shutdown => None,
        () = failed => Some(anyhow!("the store failed: see the log, and start again")),
        ended = &mut server => Some(anyhow!("the server ended by itself: {ended:?}")),
    };
    stop.send_replace(true);
    tracing::info!("stopping");
    if tokio::time::timeout(Duration::from_millis(config.grace_ms), &mut server).await.is_err() {
        tracing::warn!("some requests did not finish in time");
        server.abort();
    }
    work.await.ok();
    failed.map_or(Ok(()), Err)
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error says that the sender is gone, which is to stop, too.
    stopping.wait_for(|stop| *stop).await.ok();
}

/// What is done beside answering, until the process stops.
async fn work(store: Arc<impl Store>, roles: Roles, rules: Rules, stopping: watch::Receiver<bool>) {
    tokio::select! {
        () = say_alive(&*store), if roles.collect => {}
        () = process_on(&*store, &rules), if roles.process => {}
        () = prune_on(&*store), if roles.process => {}
        () = stopped(stopping) => {}
    }
}

async fn say_alive(store: &impl Store) {
    loop {
        tokio::time::sleep(BEAT).await;
        if let Err(error) = store.alive(clock::now()).await {
            tracing::error!(%error, "collect could not say that it is there");
        }
    }
}

async fn process_on(store: &impl Store, rules: &Rules) {
    loop {
        if let Err(error) = process_once(store, rules).await {
            tracing::error!(%error, "process goes on in a moment");
        }
        tokio::time::sleep(BEAT).await;
    }
}

async fn process_once(store: &impl Store, rules: &Rules) -> crate::store::Result<()> {
    while process::step(store, rules, clock::now()).await? {}
    Ok(())
}

/// Beside processing, which may have no end while much comes in.
async fn prune_on(store: &impl Store) {
    loop {
        match process::prune(store, clock::now()).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "pruning goes on in a while"),
        }
        tokio::time::sleep(PRUNE_EVERY).await;
    }
}
