//! The component, and its instances: made when requests come, reused as Spin reuses them, dropped when idle.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time::{Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use wasmtime::component::{Component, GuestTaskId, Linker, ResourceTable};
use wasmtime::{Config, Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bindings::spin::{sqlite::sqlite, variables::variables};
use crate::outbound::{Origin, Outbound};
use crate::pool::Pool;
use crate::sqlite::{Sqlite, View};
use crate::variables::{Values, Variables};

/// Requests that an instance takes in its life. Spin 4's default for components of WASI 0.3.
const REQUESTS_MAX: usize = 128;

/// Requests that an instance takes at once. Spin 4's default.
const REQUESTS_AT_ONCE_MAX: usize = 16;

/// How long an instance without work is kept. Spin 4's default.
const IDLE: Duration = Duration::from_secs(1);

/// What the component may use.
#[derive(Clone)]
pub(crate) struct Grants {
    pub(crate) pool: Pool,
    pub(crate) variables: Values,
    pub(crate) allowed: Arc<[Origin]>,
}

/// The compiled component, ready to be instantiated.
pub(crate) struct Loaded {
    service: ServicePre<State>,
    grants: Grants,
    /// Set when no more requests come: idle instances go at once.
    pub(crate) stop: CancellationToken,
    /// Counts the instances, and whatever else a stop must wait for.
    pub(crate) running: TaskTracker,
}

impl Loaded {
    /// Reads and compiles a component, and checks that it imports nothing but what is given here.
    pub(crate) fn from_file(path: &Path, grants: Grants) -> anyhow::Result<Self> {
        let service = compile(path)
            .map_err(anyhow::Error::from)
            .with_context(|| format!("cannot load the component {}", path.display()))?;
        Ok(Self { service, grants, stop: CancellationToken::new(), running: TaskTracker::new() })
    }
}

fn compile(path: &Path) -> wasmtime::Result<ServicePre<State>> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config)?;
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    variables::add_to_linker::<_, Variables>(&mut linker, |state: &mut State| &state.variables)?;
    sqlite::add_to_linker::<_, Sqlite>(&mut linker, State::sqlite)?;
    ServicePre::new(linker.instantiate_pre(&Component::from_file(&engine, path)?)?)
}

/// What the host keeps for one instance.
pub(crate) struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    table: ResourceTable,
    pool: Pool,
    variables: Values,
    _running: TaskTrackerToken,
}

impl State {
    fn sqlite(&mut self) -> View<'_> {
        View { pool: &self.pool, table: &mut self.table }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}

impl HandlerState for Loaded {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Expiration, Worker>> {
        // No files, no sockets, no environment; stdout is the host's own, so both streams go to stderr.
        let wasi = WasiCtx::builder().stdout(std::io::stderr()).stderr(std::io::stderr()).build();
        let state = State {
            wasi,
            http: WasiHttpCtx::new(),
            outbound: Outbound(self.grants.allowed.clone()),
            table: ResourceTable::new(),
            pool: self.grants.pool.clone(),
            variables: self.grants.variables.clone(),
            _running: self.running.token(),
        };
        let mut store = Store::new(self.service.engine(), state);
        let service = self.service.instantiate_async(&mut store).await?;
        Ok(Instance {
            store,
            proxy: Proxy::P3(service),
            view: State::http,
            expiration: Expiration::new(self.stop.clone()),
            state: Worker,
        })
    }
}

/// How much one instance takes on.
pub(crate) struct Worker;

impl WorkerState for Worker {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, at_once: usize, total: usize) -> ShouldAccept {
        if total >= REQUESTS_MAX {
            ShouldAccept::Never
        } else if at_once >= REQUESTS_AT_ONCE_MAX {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    /// As in Spin, no request is ended for taking long.
    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync>> {
        Box::pin(std::future::pending())
    }

    fn drop(&self, _: Store<State>, result: wasmtime::Result<()>) {
        if let Err(error) = result {
            eprintln!("an instance of the component failed: {error:#}");
        }
    }
}

/// When an instance goes: after a second without work, or at once when the host stops. Work that goes on after
/// the answer counts as work.
pub(crate) struct Expiration {
    idle: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Expiration {
    fn new(stop: CancellationToken) -> Self {
        Self { idle: Box::pin(sleep_until((Instant::now() + IDLE).into())), stop: Box::pin(stop.cancelled_owned()) }
    }
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, status: WorkerStatus, since: Instant) -> Poll<()> {
        if !matches!(status, WorkerStatus::Idle) {
            return Poll::Pending;
        }
        let end = (since + IDLE).into();
        if self.idle.deadline() != end {
            self.idle.as_mut().reset(end);
        }
        if self.stop.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { self.idle.as_mut().poll(context) }
    }
}
