//! Opens, identifies, reads and follows files; cuts lines; standard input.
//!
//! May touch: log files through `Files`. Must not: know labels, JSON or Loki.
//!
//! A file's life, one row a state:
//!
//! | state | what happens | leaves it when |
//! | --- | --- | --- |
//! | `Following` | read to its end, looked at each second, or each ten when idle, less often when there are thousands, and more often while it grows fast | renamed by rotation or deleted: `Gone`; a read fails: `SetAside` |
//! | `Gone` | read on through the open descriptor; writers may still hold theirs | renamed back: `Following`; quiet for `grace`: its last line goes out without a newline; then it is closed, or dormant if it has a name |
//! | `SetAside` | waits, longer each time | a look succeeds: the state before |
//!
//! A file that shrinks, or whose bytes before the offset changed, begins a new generation at 0. A
//! dormant file has no descriptor: it is looked at by its name, and opened when it has changed.

mod chunk;
mod file;
mod identity;
mod news;

mod descriptors;
mod generations;
mod hot;
mod looks;
mod open;
mod read;
mod reader;

mod stdin;

#[cfg(test)]
mod tests;

pub use self::chunk::{Chunk, RawLine, Slot};
pub use self::descriptors::Budget;
pub use self::generations::COPY_WITHIN;
pub use self::identity::{HEAD_BYTES, Kin, Resume, TAIL_BYTES};
pub use self::news::{Begin, Loss, NewFile, News};
pub use self::reader::{Options, Reader, Turn};
pub use self::stdin::{Cutter, StdinLine};
