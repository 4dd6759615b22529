//! What is odd about rules that are right.

use std::fmt;

use crate::model::LABEL_NAMES_MAX;

/// Something in a source's rules that works, but maybe not as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The label is one too many for Loki and becomes structured metadata.
    LabelBecomesMetadata {
        /// The label.
        name: String,
    },
    /// The name is a label already; its metadata rule does nothing.
    MetadataIsLabel {
        /// The name.
        name: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LabelBecomesMetadata { name } => write!(
                f,
                "label `{name}` becomes structured metadata: Loki takes at most \
                 {LABEL_NAMES_MAX} labels a stream"
            ),
            Self::MetadataIsLabel { name } => {
                write!(f, "`{name}` is a label; the metadata rule of that name does nothing")
            }
        }
    }
}
