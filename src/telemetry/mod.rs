//! Metric definitions, log set-up, throttled warnings.
//!
//! May touch: atomics, standard error. Must not: be read by other rooms to decide anything.
