//! Sends dead letters again, over the lanes that lines take.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agent::{Ended, counted};
use super::clock::Clock;
use super::crowd::Crowd;
use super::current::Current;
use super::error::AppError;
use super::lane::{Ground, Lane};
use super::pipeline::add_in_flight;
use super::registry::Registry;
use super::wake::Doorbell;
use crate::batch::Sealed;
use crate::ledger::Receipt;
use crate::model::{Counts, Pool};
use crate::push::{DeadLetter, DeadLetters, HttpTransport, Options};
use crate::telemetry::Metrics;
use crate::wire::Compressor;
use crate::wire::push::{Entry, LabelPair, PushRequest, Stream, Timestamp};

/// What the letters are counted as having been read from.
const SOURCE: &str = "replay";

/// Most encoded bytes of a push of several letters: with what Loki adds, far below its limits.
const BATCH_BYTES: usize = 1024 * 1024;

/// The letters of one tenant on their way.
struct Open {
    lane: mpsc::Sender<Sealed>,
    letters: Vec<DeadLetter>,
    bytes: usize,
}

/// Sends `letters` in their order, each to its tenant, as the agent does: for ever, until `stop`.
/// What Loki refuses again is appended to `refused`.
///
/// # Errors
/// [`AppError::Push`] when the way to Loki can never work; nothing was sent then.
pub async fn replay(
    letters: impl Iterator<Item = DeadLetter>,
    options: Options,
    refused: &Path,
    stop: CancellationToken,
) -> Result<Ended, AppError> {
    let transport = Arc::new(HttpTransport::new(options.clone())?);
    let metrics = Metrics::new();
    let ground = Ground {
        clock: Clock::start(),
        registry: Arc::new(Registry::new(Vec::new(), Vec::new())),
        metrics: metrics.clone(),
        dead_letters: Some(Arc::new(DeadLetters::at(refused, u64::MAX))),
        health: Arc::default(),
        give_up: stop.clone(),
        push: watch::channel(Arc::new(options.clone())).1,
    };
    let mut lanes = JoinSet::new();
    let mut open: HashMap<Option<String>, Open> = HashMap::new();
    for letter in letters {
        if stop.is_cancelled() {
            break;
        }
        let tenant = letter.tenant.clone().or_else(|| options.tenant.clone());
        let of_tenant = open.entry(tenant).or_insert_with_key(|tenant| {
            let (lane, batches) = mpsc::channel(1);
            // Nobody listens: the channel alone holds whoever sends.
            let (nobody, _) = Doorbell::new();
            let crowd = Crowd::new(Current::of(Arc::new([])), |_| false);
            let of_lane = Lane::new(tenant.as_deref(), batches, nobody, crowd, &ground, false);
            let (transport, ground) = (Arc::clone(&transport), ground.clone());
            lanes.spawn(async move { of_lane.run(&*transport, &ground).await });
            Open { lane, letters: Vec::new(), bytes: 0 }
        });
        of_tenant.bytes += letter.line.len() + letter.labels.len();
        of_tenant.letters.push(letter);
        if BATCH_BYTES <= of_tenant.bytes {
            of_tenant.send(&metrics).await;
        }
    }
    for (_, mut of_tenant) in open {
        of_tenant.send(&metrics).await;
    }
    while lanes.join_next().await.is_some() {}
    Ok(counted(&metrics, &[SOURCE]))
}

impl Open {
    async fn send(&mut self, metrics: &Metrics) {
        let letters = std::mem::take(&mut self.letters);
        self.bytes = 0;
        if letters.is_empty() {
            return;
        }
        let sealed = seal(letters);
        let counts = sealed.receipt.counts;
        let counters = metrics.source(SOURCE);
        counters.lines_read.inc_by(counts.lines);
        counters.bytes_read.inc_by(counts.bytes);
        add_in_flight(metrics, counts, 1);
        // A lane that has ended was told to: what it left is counted as unsettled.
        let _ = self.lane.send(sealed).await;
    }
}

fn seal(letters: Vec<DeadLetter>) -> Sealed {
    let (mut counts, mut streams) = (Counts::default(), BTreeMap::<String, Vec<Entry>>::new());
    let entries = letters.len();
    for letter in letters {
        counts += Counts { lines: 1, bytes: letter.line.len() as u64 };
        let (seconds, nanos) =
            (letter.time.0.div_euclid(1_000_000_000), letter.time.0.rem_euclid(1_000_000_000));
        let pairs = letter.metadata.into_iter();
        streams.entry(letter.labels).or_default().push(Entry {
            timestamp: Some(Timestamp {
                seconds,
                nanos: i32::try_from(nanos).expect("BUG: below 1e9"),
            }),
            line: letter.line,
            structured_metadata: pairs.map(|(name, value)| LabelPair { name, value }).collect(),
        });
    }
    let streams: Vec<Stream> =
        streams.into_iter().map(|(labels, entries)| Stream { labels, entries }).collect();
    let count = streams.len();
    let encoded = PushRequest { streams }.encode_to_vec();
    // Not bounded by a budget: two batches of a megabyte for each tenant is all there is.
    let permit = Pool::new(0, || {}).empty();
    Sealed {
        body: Compressor::default().compress(&encoded),
        encoded_bytes: encoded.len(),
        entries,
        streams: count,
        tenant: crate::model::TenantId::default(),
        receipt: Receipt { tickets: Vec::new(), permit, counts },
    }
}
