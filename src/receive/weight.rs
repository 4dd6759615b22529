//! How much protobuf a push is on its way to an ingester, which takes 4 MiB.

use prost::encoding::{bytes, encoded_len_varint, message, uint64};
use xxhash_rust::xxh64::xxh64;

use super::check::service;
use super::labels::Labels;
use super::options::Options;
use super::shard::Shard;

/// Bytes of protobuf. Without discovery a `service_name` counts as well: Loki's default adds it.
pub(super) fn weight(shards: &[Shard], options: &Options) -> usize {
    let with_key = |len: usize| 1 + encoded_len_varint(len as u64) + len;
    shards
        .iter()
        .map(|Shard { labels, entries, .. }| {
            let named = labels.get("service_name").is_some() || options.discover_service_name;
            let service =
                if named { 0 } else { r#", service_name="""#.len() + service(labels).len() };
            let text = labels.to_string().into_bytes();
            let entries = message::encoded_len_repeated(2, entries);
            with_key(
                service
                    + bytes::encoded_len(1, &text)
                    + entries
                    + uint64::encoded_len(3, &hash(labels)),
            )
        })
        .sum()
}

/// Prometheus' `Labels.Hash`.
fn hash(labels: &Labels) -> u64 {
    let mut text = Vec::new();
    for (name, value) in labels.iter() {
        for part in [name, value] {
            text.extend_from_slice(part.as_bytes());
            text.push(0xff);
        }
    }
    xxh64(&text, 0)
}
