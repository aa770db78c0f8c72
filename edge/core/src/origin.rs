//! Asking the origin: typed, and never for longer than the caller can wait.

use std::pin::pin;

use futures_util::future::{Either, select};
use minicbor::{Decode, Encode};
use playhead_shared::register::{Entry, Register};
use playhead_shared::wire::{
    ADMISSIONS, Admission, AdmissionAnswer, BATCHES, Batch, BatchAnswer, READS, Read, ReadAnswer, WireEntry,
};

use crate::edge::Edge;
use crate::held::{Held, Item, Key};
use crate::host::{CallError, Host};

/// Playback waits for nothing longer than this.
const ADMISSION_MS: u64 = 400;
const READ_MS: u64 = 2_000;
const BATCH_MS: u64 = 10_000;

/// Hands in what is due.
pub(crate) async fn post_batch<H: Host, D: Held>(edge: &Edge<H, D>, batch: &Batch) -> Result<BatchAnswer, CallError> {
    let answer: BatchAnswer = call(edge, BATCHES, batch, BATCH_MS).await?;
    edge.heard_time(answer.server_time);
    Ok(answer)
}

/// Asks for a stream.
pub(crate) async fn admit<H: Host, D: Held>(
    edge: &Edge<H, D>,
    admission: &Admission,
) -> Result<AdmissionAnswer, CallError> {
    let answer: AdmissionAnswer = call(edge, ADMISSIONS, admission, ADMISSION_MS).await?;
    edge.heard_time(answer.server_time);
    Ok(answer)
}

/// Asks a question.
pub(crate) async fn read<H: Host, D: Held>(edge: &Edge<H, D>, read: &Read) -> Result<ReadAnswer, CallError> {
    let answer: ReadAnswer = call(edge, READS, read, READ_MS).await?;
    edge.heard_time(answer.server_time);
    Ok(answer)
}

/// The registers of an answer. One that this edge cannot read is left out: the origin has it.
pub(crate) fn readable(entries: Vec<WireEntry>) -> Vec<(Key, Register)> {
    (entries.into_iter())
        .filter_map(|wire| Entry::try_from(wire).ok())
        .map(|entry| (Key { account: entry.account, item: Item::Fact(entry.fact) }, entry.register))
        .collect()
}

async fn call<H: Host, D: Held, T: for<'b> Decode<'b, ()>>(
    edge: &Edge<H, D>,
    path: &str,
    question: &impl Encode<()>,
    patience_ms: u64,
) -> Result<T, CallError> {
    let body = minicbor::to_vec(question).map_err(|_| CallError::Unreadable("no question".to_owned()))?;
    let call = pin!(edge.host.call(path, body));
    let answer = match select(call, pin!(edge.host.sleep(patience_ms))).await {
        Either::Left((answer, _)) => answer?,
        Either::Right(_) => return Err(CallError::Unreachable(format!("no answer in {patience_ms} ms"))),
    };
    minicbor::decode(&answer).map_err(|_| CallError::Unreadable("not what the path answers".to_owned()))
}
