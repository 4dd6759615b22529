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
    /// One more is on its way here: it was closed, and another thread seals it.
    is_closing: bool,
    /// The open batch takes no more lines until one of these is taken.
    is_stuck: bool,
}

impl Outbox {
    pub(super) fn new(tenants: usize) -> Self {
        Self((0..tenants).map(|_| Queue::default()).collect())
    }

    /// There are so many tenants now.
    pub(super) fn grow(&mut self, tenants: usize) {
        self.0.resize_with(tenants.max(self.0.len()), Queue::default);
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

    /// Whether no batch waits, or is on its way here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tenants().all(|tenant| self.is_clear(tenant))
    }

    /// Whether no batch of `tenant` waits.
    #[must_use]
    pub fn is_empty_for(&self, tenant: TenantId) -> bool {
        self.0[tenant.idx()].sealed.is_empty()
    }

    /// Whether no batch of `tenant` waits, or is on its way here: then the next one can be closed.
    pub(super) fn is_clear(&self, tenant: TenantId) -> bool {
        self.is_empty_for(tenant) && !self.is_closing(tenant)
    }

    pub(super) fn is_closing(&self, tenant: TenantId) -> bool {
        self.0[tenant.idx()].is_closing
    }

    /// The next batch of `tenant` that is put here was closed.
    pub(super) fn set_closing(&mut self, tenant: TenantId) {
        self.0[tenant.idx()].is_closing = true;
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

    pub(super) fn put(&mut self, sealed: Sealed) {
        let queue = &mut self.0[sealed.tenant.idx()];
        queue.is_closing = false;
        queue.sealed.push_back(sealed);
    }
}
