//! Loki's settings by name, as a command line gives them.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::options::Options;
use crate::model::UnixNanos;

impl Options {
    /// Sets one of Loki's settings, e.g. `max_global_streams_per_user` to `1`. Names and values
    /// are written as in Loki's configuration.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.assign(name, value).map_err(|error| format!("{name}: {value:?}: {error}"))
    }

    fn assign(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "auth_enabled" => self.auth = parse(value)?,
            "discover_service_name" => self.discover_service_name = value != "[]",
            "allow_structured_metadata" => self.allow_structured_metadata = parse(value)?,
            "max_global_streams_per_user" => self.stream_limit = parse(value)?,
            "ingestion_rate_mb" => self.ingestion_rate_bytes = mebibytes(value)?,
            "ingestion_burst_size_mb" => self.ingestion_burst_bytes = mebibytes(value)?,
            "per_stream_rate_limit" => self.per_stream_rate_bytes = size(value)?,
            "per_stream_rate_limit_burst" => self.per_stream_burst_bytes = size(value)?,
            "shard_streams.enabled" => self.shard_streams = parse(value)?,
            "shard_streams.desired_rate" => self.shard_desired_rate_bytes = size(value)?,
            "reject_old_samples" => self.reject_old_samples = parse(value)?,
            "reject_old_samples_max_age" => self.reject_old_samples_max_age = duration(value)?,
            "creation_grace_period" => self.creation_grace_period = duration(value)?,
            "max_chunk_age" => self.max_chunk_age = duration(value)?,
            "chunk_idle_period" => self.chunk_idle_period = duration(value)?,
            "enforced_labels" => {
                self.enforced_labels = value.split(',').map(str::to_owned).collect();
            }
            "block_ingestion_until" => {
                let until: UnixNanos =
                    parse::<jiff::Timestamp>(value)?.try_into().map_err(text_of)?;
                self.block_ingestion_until = Some(until);
            }
            "block_ingestion_status_code" => self.block_ingestion_status_code = parse(value)?,
            "grpc_server_max_recv_msg_size" => self.grpc_bytes_max = parse(value)?,
            _ => return Err("the receiver has no such setting".to_owned()),
        }
        Ok(())
    }
}

fn parse<T: FromStr<Err: Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(text_of)
}

fn text_of<E: Display>(error: E) -> String {
    error.to_string()
}

/// Units of 1,048,576, with a fraction or without.
fn mebibytes(value: &str) -> Result<usize, String> {
    parse(&format!("{:.0}", (parse::<f64>(value)? * 1_048_576.0).floor()))
}

/// `3MB` of 1,048,576 bytes each, also `KB` and `GB`; or a number of bytes.
fn size(value: &str) -> Result<usize, String> {
    let units = [("KB", 10), ("MB", 20), ("GB", 30), ("B", 0), ("", 0)];
    let unit = units.iter().find_map(|(unit, bits)| Some((value.strip_suffix(unit)?, bits)));
    let (number, bits) = unit.unwrap_or((value, &0));
    Ok(parse::<usize>(number)?.saturating_mul(1 << bits))
}

fn duration(value: &str) -> Result<Duration, String> {
    parse::<jiff::SignedDuration>(value)?.try_into().map_err(text_of)
}
