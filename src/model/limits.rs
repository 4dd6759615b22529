//! Numbers that more than one room relies on, and how they relate.

use std::time::Duration;

/// Most label names of a stream that Loki accepts by default (`max_label_names_per_series`);
/// the discovered `service_name` does not count.
pub const LABEL_NAMES_MAX: usize = 15;

/// Longest label value in bytes, counted after unescaping (`max_label_value_length`).
pub const LABEL_VALUE_BYTES_MAX: usize = 2048;

/// Longest label name in bytes (`max_label_name_length`).
pub const LABEL_NAME_BYTES_MAX: usize = 1024;

/// Most structured metadata pairs of one entry (`max_structured_metadata_entries_count`).
pub const METADATA_PAIRS_MAX: usize = 128;

/// Most bytes of names and values in one entry's structured metadata
/// (`max_structured_metadata_size`).
pub const METADATA_BYTES_MAX: usize = 64 * 1024;

/// Longest line that Loki accepts by default (`max_line_size`), and the default of
/// `limits.line_bytes`.
pub const LINE_BYTES_DEFAULT: u32 = 256 * 1024;

/// Most bytes of one push in protobuf, so that it passes the 4 MiB gRPC limit behind Loki's
/// distributor. Only together with [`PUSH_WEIGHT_MAX`].
pub const PUSH_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Encoded bytes + [`ENTRY_WEIGHT`] an entry + [`STREAM_WEIGHT`] a stream stay below this: Loki
/// adds `detected_level` to each entry and `service_name` to each stream before the 4 MiB limit
/// is applied.
pub const PUSH_WEIGHT_MAX: usize = 4 * 1024 * 1024 - 64 * 1024;

/// What Loki may add to one entry, in bytes.
pub const ENTRY_WEIGHT: usize = 28;

/// What Loki may add to one stream, in bytes, beside a copy of the service name's value.
pub const STREAM_WEIGHT: usize = 28;

/// How far ahead of Loki's clock a line may be (`creation_grace_period`), less a minute for
/// clocks that differ.
pub const AHEAD_MAX: Duration = Duration::from_secs(9 * 60);

/// How far behind the newest line of its stream a line may be (half of `max_chunk_age`, 1 h),
/// less five minutes.
pub const BEHIND_MAX: Duration = Duration::from_secs(55 * 60);

/// How far one file of a source may be read ahead, in line time, of the slowest file of that
/// source that has unread data.
pub const LEAD_MAX: Duration = Duration::from_secs(30 * 60);

const _: () =
    assert!(LEAD_MAX.as_secs() < BEHIND_MAX.as_secs(), "files in step stay in the window");
const _: () = assert!(PUSH_BYTES_MAX < PUSH_WEIGHT_MAX, "a full push leaves room for weights");
const _: () = assert!(
    LINE_BYTES_DEFAULT as usize + METADATA_BYTES_MAX < PUSH_BYTES_MAX,
    "any single entry fits a push"
);
