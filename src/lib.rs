//! Skald ships logs to Grafana Loki and loses nothing. This is the map, in reading order.

pub mod model;

pub mod telemetry;

pub mod batch;
pub mod ledger;
pub mod parse;
pub mod wire;

pub mod checkpoint;
pub mod discover;
pub mod push;
pub mod tail;

pub mod config;

pub mod receive;

pub mod admin;
pub mod app;

pub mod cli;
