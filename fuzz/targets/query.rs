//! Whatever a query says, the receiver answers.

use skald::receive::Query;

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(error) = Query::parse(&text) {
        assert!(!error.to_string().is_empty());
    }
}
