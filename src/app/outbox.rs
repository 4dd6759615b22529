//! Sealed batches on their way from a worker to its lanes: a queue for each tenant, so that one
//! that is stuck leaves those of the others free.

use std::collections::VecDeque;

use crate::batch::Sealed;
use crate::model::TenantId;

/// Sealed batches of one tenant that may wait here: beyond them memory is given back by Loki only.
const WAITING_MAX: usize = 4;

/// Sealed batches by tenant.
#[derive(Debug)]
pub struct Outbox(Vec<Queue>);

#[derive(Debug, Default)]
struct Queue {
    sealed: VecDeque<Sealed>,
    /// The open batch takes no more lines until one of these is taken.
    is_stuck: bool,
}

impl Outbox {
    pub(super) fn new(tenants: usize) -> Self {
        Self((0..tenants).map(|_| Queue::default()).collect())
    }

    /// Every tenant.
    pub fn tenants(&self) -> impl Iterator<Item = TenantId> + use<> {
        TenantId::first(self.0.len())
    }

    /// The next batch of `tenant`.
    pub fn take(&mut self, tenant: TenantId) -> Option<Sealed> {
        let queue = &mut self.0[tenant.idx()];
        queue.is_stuck = false;
        queue.sealed.pop_front()
    }

    /// Whether no batch waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|queue| queue.sealed.is_empty())
    }

    /// Whether no batch of `tenant` waits.
    #[must_use]
    pub fn is_empty_for(&self, tenant: TenantId) -> bool {
        self.0[tenant.idx()].sealed.is_empty()
    }

    pub(super) fn has_room(&self, tenant: TenantId) -> bool {
        self.0[tenant.idx()].sealed.len() < WAITING_MAX
    }

    pub(super) fn is_stuck(&self, tenant: TenantId) -> bool {
        self.0[tenant.idx()].is_stuck
    }

    pub(super) fn set_stuck(&mut self, tenant: TenantId) {
        self.0[tenant.idx()].is_stuck = true;
    }

    pub(super) fn extend(&mut self, sealed: Option<Sealed>) {
        if let Some(sealed) = sealed {
            self.0[sealed.tenant.idx()].sealed.push_back(sealed);
        }
    }
}
