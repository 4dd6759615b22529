//! What is drawn anew for every seed, the agent's own settings among it.

use std::time::Duration;

/// What may be asked of the agent. Each is a promise; one that is `false` is not held to yet.
pub(crate) struct Promised {
    /// What was copied or compressed is never read twice.
    pub(crate) once: bool,
    /// Files that begin alike for longer than what identifies them are told apart, even when they
    /// were compressed, copied, or rotated out of the globs.
    pub(crate) equal_heads: bool,
}

/// What the agent promises beyond what all seeds hold it to.
pub(crate) const PROMISED: Promised = Promised { once: false, equal_heads: false };

/// When a service may destroy what it has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// When all of it is answered for: nothing may be lost, whatever happens.
    Answered,
    /// A file may be deleted when the agent has it open, and truncated when it has read all of
    /// it: nothing may be lost unless the process dies.
    Opened,
    /// At any time: what the agent had not read is lost, exactly that.
    Never,
}

/// What is drawn anew for every seed.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    pub(crate) workers: usize,
    pub(crate) sources: usize,
    pub(crate) files: usize,
    pub(crate) line_bytes: usize,
    pub(crate) chunk_bytes: usize,
    pub(crate) bytes_max: usize,
    pub(crate) in_flight: u64,
    pub(crate) age_max: Duration,
    pub(crate) streams_max: usize,
    /// The budget for descriptors, of each reader.
    pub(crate) open_files: usize,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) one_in_poison: u64,
    /// `limits.age`.
    pub(crate) limit_age: Duration,
    /// A wait that a ring would cut short, as in `app::readers`.
    pub(crate) wait_max: Duration,
    /// Values of one of the labels.
    pub(crate) events: usize,
    /// The services' lines come between these pauses, in milliseconds.
    pub(crate) write_pause: u64,
    /// Of their acts one in so many is a rotation.
    pub(crate) one_in_rotate: u32,
    /// Files begin with the same long line.
    pub(crate) equal_heads: bool,
    /// Lines of some files are stamped hours ago.
    pub(crate) late_files: bool,
    /// Rotated files keep a name that the globs find.
    pub(crate) globs_find_rotated: bool,
    /// Generations that keep a name beside the newest.
    pub(crate) kept: usize,
    pub(crate) hold: Hold,
    /// Files are sometimes truncated instead of renamed,
    pub(crate) copytruncate: bool,
    /// when a copy of them was made,
    pub(crate) copies: bool,
    /// and grow again at once.
    pub(crate) regrow: bool,
    /// Older generations are compressed.
    pub(crate) gz: bool,
    /// How long services write.
    pub(crate) duration: Duration,
    /// Mean time in milliseconds between ends of the process; `None` is never.
    pub(crate) life: Option<u64>,
    /// One in so many sudden ends is a power cut.
    pub(crate) one_in_cut: u64,
    pub(crate) log_faults: u64,
    pub(crate) state_faults: u64,
    pub(crate) inode_reuse: u64,
    /// How often new names are looked for.
    pub(crate) scan: Duration,
    /// How long a reader takes to hear what was found: services go on meanwhile.
    pub(crate) hear: Duration,
    /// Of so many writes notify tells of one file; 0 is never.
    pub(crate) one_in_hint: usize,
}

/// One of these.
pub(crate) fn pick<T: Copy>(rng: &mut fastrand::Rng, choices: &[T]) -> T {
    choices[rng.usize(0..choices.len())]
}

pub(crate) fn millis(rng: &mut fastrand::Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

impl Knobs {
    pub(crate) fn new(rng: &mut fastrand::Rng) -> Self {
        let line_bytes = rng.usize(300..3000);
        let chunk_bytes = (line_bytes + 1).max(pick(rng, &[1024, 4096, 16_384]));
        let bytes_max = pick(rng, &[1, 600, 4096, 16_384]);
        // What `check` asks for: a batch, and a chunk for each of the most readers there can be.
        let least = (bytes_max + 4 * chunk_bytes) as u64;
        let copytruncate = rng.u8(0..3) == 0;
        let copies = copytruncate && rng.bool();
        let life = pick(rng, &[None, Some(4000), Some(8000), Some(16_000)]);
        let inode_reuse = pick(rng, &[0, 1, 3]);
        // What a deleted file held that was open goes with the process: that proves nothing.
        let (hold, life) = match rng.u8(0..96) {
            0 => (Hold::Never, life),
            1..8 => (Hold::Opened, life),
            8..44 => (Hold::Opened, None),
            _ => (Hold::Answered, life),
        };
        // A file that was closed for want of descriptors is gone when it is deleted, and read again
        // when both its number and its name are used again between two scans.
        let is_kept = hold == Hold::Answered && inode_reuse == 0;
        let open_files = if is_kept { pick(rng, &[1, 3, 1000]) } else { 1000 };
        let log_faults = pick(rng, &[0, 0, 40, 400]);
        // What is compressed while it cannot be read is not always known again, nor is a copy
        // that is compressed and has the number of a file that is gone.
        let is_known = log_faults == 0 && open_files == 1000 && (!copies || inode_reuse == 0);
        let gz = rng.bool() && is_known;
        let globs_find_rotated = rng.bool();
        let is_plain = globs_find_rotated && !gz && !copies && log_faults == 0 && inode_reuse == 0;
        let equal_heads = rng.bool() && (PROMISED.equal_heads || is_plain && open_files == 1000);
        Self {
            workers: rng.usize(1..=3),
            sources: rng.usize(1..=3),
            files: rng.usize(1..=6),
            line_bytes,
            chunk_bytes,
            bytes_max,
            in_flight: least + pick(rng, &[0, 0, 1000, 1_000_000]),
            age_max: millis(rng, 10..3000),
            streams_max: pick(rng, &[1, 2, 5, 1000, 1000, 1000]),
            open_files,
            retry_min: millis(rng, 50..500),
            retry_max: millis(rng, 500..4000),
            one_in_poison: pick(rng, &[0, 100, 300]),
            limit_age: Duration::from_secs(24 * 3600),
            wait_max: Duration::from_millis(100),
            events: 3,
            write_pause: pick(rng, &[50, 100, 400]),
            one_in_rotate: pick(rng, &[25, 100, 200]),
            equal_heads,
            late_files: rng.bool(),
            globs_find_rotated,
            kept: rng.usize(1..=4),
            hold,
            copytruncate,
            copies,
            regrow: rng.bool(),
            gz,
            duration: millis(rng, 10_000..50_000),
            life,
            one_in_cut: pick(rng, &[1, 2]),
            log_faults,
            state_faults: pick(rng, &[0, 0, 5, 30]),
            inode_reuse,
            scan: millis(rng, 50..3000),
            hear: millis(rng, 0..50) * pick(rng, &[0, 1, 20]),
            one_in_hint: pick(rng, &[0, 2, 10]),
        }
    }

    /// Roomy settings, and nothing that goes wrong.
    pub(crate) fn calm() -> Self {
        Self {
            workers: 2,
            sources: 2,
            files: 4,
            line_bytes: 1000,
            chunk_bytes: 16_384,
            bytes_max: 32 * 1024,
            in_flight: 1 << 20,
            age_max: Duration::from_secs(1),
            streams_max: 100_000,
            open_files: 1000,
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            one_in_poison: 0,
            limit_age: Duration::from_secs(7 * 24 * 3600),
            wait_max: Duration::from_secs(10),
            events: 3,
            write_pause: 100,
            one_in_rotate: u32::MAX,
            equal_heads: false,
            late_files: false,
            globs_find_rotated: true,
            kept: 4,
            hold: Hold::Answered,
            copytruncate: false,
            copies: false,
            regrow: false,
            gz: false,
            duration: Duration::from_secs(30),
            life: None,
            one_in_cut: 1,
            log_faults: 0,
            state_faults: 0,
            inode_reuse: 0,
            scan: Duration::from_secs(2),
            hear: Duration::ZERO,
            one_in_hint: 0,
        }
    }
}
