//! Opens, identifies, reads and follows files; cuts lines; standard input.
//!
//! May touch: log files through `Files`. Must not: know labels, JSON or Loki.
