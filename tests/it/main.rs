//! Real processes against the receiver: the built binary, its files, pipes and signals.
//!
//! Every line that a test writes is numbered per source, so that lost, repeated, foreign and
//! disordered lines are counted exactly: see [`support::Sent`]. Nothing sleeps for a fixed time;
//! [`support::eventually`] waits for what is to come.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::disallowed_methods, reason = "these tests wait on real processes")]
#![expect(clippy::print_stderr, reason = "figures are shown by --nocapture")]

mod support;

mod admin;
mod cli;
mod crash;
mod exec;
mod faults;
mod files;
mod kube_api;
mod kubernetes;
mod odd;
mod push;
mod reload;
mod replay;
mod rules;
mod shutdown;
mod stdin;
mod tools;
mod verbs;
