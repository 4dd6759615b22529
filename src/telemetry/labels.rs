//! The labels of metrics. Each has few values; none is a path.

use prometheus_client::encoding::EncodeLabelSet;

use crate::model;

/// The one label of a family of metrics.
pub trait Label: EncodeLabelSet + Clone + std::hash::Hash + Eq {
    /// Its name.
    const NAME: &'static str;
}

macro_rules! label {
    ($type:ident, $name:ident: $value:ty, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub struct $type {
            #[doc = $doc]
            pub $name: $value,
        }

        impl Label for $type {
            const NAME: &'static str = stringify!($name);
        }
    };
}

label!(Source, source: String, "The source's name in the configuration.");
label!(Tenant, tenant: String, "Loki's tenant; empty without one.");
label!(Reason, reason: &'static str, "Why a line was dropped: `model::Reason::name`.");
label!(Flag, flag: &'static str, "What was noticed about a line: `model::Flag::name`.");
label!(Status, status: String, "The status code of Loki's answer, or `failed` without one.");
label!(Why, why: &'static str, "The cause, as the room that counts it names it.");
label!(Result, result: &'static str, "`success` or `failure`.");
label!(State, state: &'static str, "What is done with a file: `FileState::name`.");

impl From<model::Reason> for Reason {
    fn from(reason: model::Reason) -> Self {
        Self { reason: reason.name() }
    }
}

impl From<model::Flag> for Flag {
    fn from(flag: model::Flag) -> Self {
        Self { flag: flag.name() }
    }
}

impl From<FileState> for State {
    fn from(state: FileState) -> Self {
        Self { state: state.name() }
    }
}

/// What is done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileState {
    /// It has a path and is read as it grows.
    Following,
    /// It was renamed or deleted and is read to its end.
    Rotated,
    /// It could not be read and is tried again later.
    SetAside,
}

impl FileState {
    /// All states, in the order of the metrics page.
    pub const ALL: [Self; 3] = [Self::Following, Self::Rotated, Self::SetAside];

    /// The name in metrics and under `/files`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Rotated => "rotated",
            Self::SetAside => "set_aside",
        }
    }
}
