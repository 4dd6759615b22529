//! Pods that ask for another format, multi-line or sampling: parsers of their own, with the labels of
//! their source.

use std::path::Path;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use tracing::warn;

use super::super::sources::Source;
use crate::config::Asks;
use crate::discover::Pod;
use crate::parse::{Parser, Plan};

/// Most of them for one source: each takes some KiB.
const VARIANTS_MAX: usize = 32;

/// The parsers that are not in use, by source.
#[derive(Debug, Default)]
pub(super) struct Variants {
    by_source: HashMap<usize, Own>,
    /// Sources that have as many as they may, which was said.
    full: HashSet<usize>,
}

#[derive(Debug, Default)]
struct Own {
    /// What is asked for, and its parser; of the one in use the source's own.
    all: Vec<(Arc<Asks>, Parser)>,
    in_use: Option<usize>,
}

impl Variants {
    /// `parser` is the source's own again.
    pub(super) fn put_back(&mut self, source: usize, parser: &mut Parser) {
        if let Some(own) = self.by_source.get_mut(&source)
            && let Some(idx) = own.in_use.take()
        {
            std::mem::swap(&mut own.all[idx].1, parser);
        }
    }

    /// `parser`, which is the source's own, becomes the one that the pod of the file at `path` asks
    /// for. Returns whether it is another one.
    pub(super) fn choose(
        &mut self,
        idx: usize,
        source: &Source,
        path: &Path,
        stamps_follow: bool,
        parser: &mut Parser,
    ) -> bool {
        let Some((pods, options)) =
            source.pods.as_ref().and_then(|pods| Some((&pods.known, pods.options.as_ref()?)))
        else {
            return false;
        };
        let asks = Pod::of(path).map(|pod| pods.asks(pod.uid));
        let Some(asks) = asks.filter(|asks| asks.changes_rules()) else { return false };
        let own = self.by_source.entry(idx).or_default();
        let place = match own.all.iter().position(|(other, _)| *other == asks) {
            Some(place) => place,
            None if own.all.len() < VARIANTS_MAX => {
                let plan = Arc::new(Plan::compile(&asks.apply(options)));
                own.all.push((asks, Parser::new(plan, stamps_follow)));
                own.all.len() - 1
            }
            None => {
                if self.full.insert(idx) {
                    warn!(
                        source = source.name,
                        "pods ask for more than {VARIANTS_MAX} combinations of format, multiline \
                         and sample: those that follow are read as the source says",
                    );
                }
                return false;
            }
        };
        own.in_use = Some(place);
        std::mem::swap(&mut own.all[place].1, parser);
        true
    }

    /// The source has other rules.
    pub(super) fn forget(&mut self, source: usize) {
        self.by_source.remove(&source);
        self.full.remove(&source);
    }
}
