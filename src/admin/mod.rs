//! HTTP for people and probes: /metrics, /ready, /healthy, /files.
//!
//! May touch: a listening socket. Must not: change anything.
