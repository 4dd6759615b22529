//! A small Loki-compatible receiver for tests, demos and newcomers.
//!
//! May touch: a listening socket. Must not: be used by the agent's own rooms.
