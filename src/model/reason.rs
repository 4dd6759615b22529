//! Why a line was dropped, and what was noticed about lines that were not.

/// Why a line was not delivered. The name is a metric label and an interface: see GUIDE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The line's own time is older than `limits.age`.
    TooOld,
    /// It has no time of its own, and `timestamp.missing` is `drop`.
    NoTime,
    /// Its time is in the future, and `timestamp.future` is `drop`.
    InFuture,
    /// A `drop` or `keep` rule said so.
    DroppedByRule,
    /// A `sample` rule left it out.
    Sampled,
    /// It was over the pace of a `limit` rule.
    RateLimited,
    /// Loki refused the entry with a 400; it is in the dead-letter file.
    RejectedByLoki,
    /// The entry is too large for any push, even alone; it is in the dead-letter file.
    TooLarge,
    /// Standard input only: the process ended before Loki had answered.
    ShutdownDeadline,
}

impl Reason {
    /// All reasons, in the order of the metrics page.
    pub const ALL: [Self; 9] = [
        Self::TooOld,
        Self::NoTime,
        Self::InFuture,
        Self::DroppedByRule,
        Self::Sampled,
        Self::RateLimited,
        Self::RejectedByLoki,
        Self::TooLarge,
        Self::ShutdownDeadline,
    ];

    /// Whether the user's own rules asked for it: then nothing is wrong.
    #[must_use]
    pub const fn is_wanted(self) -> bool {
        match self {
            Self::NoTime
            | Self::InFuture
            | Self::DroppedByRule
            | Self::Sampled
            | Self::RateLimited => true,
            Self::TooOld | Self::RejectedByLoki | Self::TooLarge | Self::ShutdownDeadline => false,
        }
    }

    /// The name in metrics, logs and dead letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::NoTime => "no_time",
            Self::InFuture => "in_future",
            Self::DroppedByRule => "dropped_by_rule",
            Self::Sampled => "sampled",
            Self::RateLimited => "rate_limited",
            Self::RejectedByLoki => "rejected_by_loki",
            Self::TooLarge => "too_large",
            Self::ShutdownDeadline => "shutdown_deadline",
        }
    }
}

/// What was noticed about a line that is shipped all the same. The name is a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// The format says JSON (or `auto` saw a leading `{`), but the line is not a JSON object.
    NotJson,
    /// The format says CRI, docker or logfmt, but the line is not.
    NotInFormat,
    /// Invalid UTF-8 was replaced by U+FFFD.
    InvalidUtf8,
    /// The line was cut to `limits.line_bytes`; metadata `truncated_from` has its length.
    Truncated,
    /// A label value held what Loki's grammar cannot carry, or was over 2048 bytes.
    LabelCleaned,
    /// Metadata beyond Loki's 128 pairs or 64 KiB was left out; the line itself has it.
    MetadataCut,
    /// No usable timestamp in the line: it took the one before +1 ns, or the read time.
    NoTimestamp,
    /// A stamp outside 1970..2262 was clamped.
    TimestampClamped,
    /// The time was ahead of now or behind its stream beyond Loki's window and was moved inside;
    /// metadata `original_timestamp` has the line's own.
    MovedIntoWindow,
    /// The container's line has no last part: what there is of it is sent.
    Unfinished,
}

impl Flag {
    /// All flags, in the order of the metrics page.
    pub const ALL: [Self; 10] = [
        Self::NotJson,
        Self::NotInFormat,
        Self::InvalidUtf8,
        Self::Truncated,
        Self::LabelCleaned,
        Self::MetadataCut,
        Self::NoTimestamp,
        Self::TimestampClamped,
        Self::MovedIntoWindow,
        Self::Unfinished,
    ];

    /// The name in metrics and in the output of `skald try`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotInFormat => "not_in_format",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::Truncated => "truncated",
            Self::LabelCleaned => "label_cleaned",
            Self::MetadataCut => "metadata_cut",
            Self::NoTimestamp => "no_timestamp",
            Self::TimestampClamped => "timestamp_clamped",
            Self::MovedIntoWindow => "moved_into_window",
            Self::Unfinished => "unfinished",
        }
    }
}

/// Lines and input bytes (newline and wrapper included), counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Physical lines.
    pub lines: u64,
    /// Input bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
    }
}
