//! The laws of `targets`, for the drivers in `bin`.

mod targets;

/// Runs the target `name` on a fuzzer's input.
///
/// # Panics
/// When its law is broken, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::ALL.iter().find(|target| target.name == name).expect("a known target");
    (target.check)(data);
}
