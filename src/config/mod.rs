//! YAML to checked options of each room; all mistakes at once, with their place.
//!
//! May touch: the configuration file, the environment. Must not: start anything; be imported by a room.
