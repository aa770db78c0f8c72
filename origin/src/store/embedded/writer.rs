//! The one thread that writes: takes what waits, applies each request as one atomic batch, syncs the disk once
//! for all of them, and answers.
//!
//! One thread and not a lock per account: a flush of an edge spans hundreds of accounts, so such batches would
//! lock each other out almost always, and hold their locks through the sync of another. Here whatever arrives
//! during a sync shares the next one.

use std::sync::Arc;
use std::thread::JoinHandle;

use fjall::{OwnedWriteBatch as WriteBatch, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::{Result, StoreError, Tables};

/// A request: does its reading and writing, says whether it wrote, and is told how the sync went.
type Job = Box<dyn FnOnce(&Tables) -> (bool, Answer) + Send>;
type Answer = Box<dyn FnOnce(&Result<()>) + Send>;

/// Requests that share one sync at most; bounds what a crash makes the edges send again.
const GROUP: usize = 256;

pub(super) struct Writer {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(tables: Arc<Tables>, queue: usize) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel(queue);
        let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(move || serve(&tables, waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` on the writing thread; what it puts into the batch is applied all or not at all, and is on the
    /// disk when this returns. A caller that goes away does not stop it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables, &mut WriteBatch) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |tables| {
            let mut batch = tables.db.batch();
            let result = work(tables, &mut batch);
            let wrote = result.is_ok() && !batch.is_empty();
            let result = result.and_then(|value| batch.commit().map(|()| value).map_err(StoreError::from));
            if result.is_err() {
                // Of what was not written, nothing may be remembered as written.
                tables.recent().registers.clear();
                tables.recent().leases.clear();
            }
            let answer: Answer = Box::new(move |synced| {
                // Nobody waits any more: the write stands all the same.
                answer.send(synced.clone().and(result)).ok();
            });
            (wrote, answer)
        });
        let stopped = || StoreError::Failed("the writer has stopped".to_owned());
        let Some(jobs) = &self.jobs else { return Err(stopped()) };
        jobs.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answered.await.map_err(|_| stopped())?
    }

    pub(super) async fn failed(&self) {
        if let Some(jobs) = &self.jobs {
            jobs.closed().await;
        }
    }
}

impl Drop for Writer {
    /// Finishes what waits, so that the folder can be opened again at once.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer had panicked");
        }
    }
}

fn serve(tables: &Tables, mut waiting: mpsc::Receiver<Job>) {
    let mut group = Vec::new();
    while waiting.blocking_recv_many(&mut group, GROUP) > 0 {
        let mut wrote_any = false;
        let mut answers = Vec::with_capacity(group.len());
        for job in group.drain(..) {
            let (wrote, answer) = job(tables);
            wrote_any |= wrote;
            answers.push(answer);
        }
        // What was already so needs no sync: it was on the disk before anyone could see it acknowledged.
        let synced =
            if wrote_any { tables.db.persist(PersistMode::SyncData).map_err(StoreError::from) } else { Ok(()) };
        for answer in answers {
            answer(&synced);
        }
        if let Err(error) = synced {
            tracing::error!(%error, "the disk refused a sync: the store is closed");
            return;
        }
    }
}
