//! The way to Loki of all lanes, which a reload exchanges under them.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::model::Now;
use crate::push::{Answer, HttpTransport, Transport};

/// A transport that can be exchanged. A push that is under way is brought to its end.
#[derive(Debug)]
pub(in super::super) struct Exchange(Mutex<Arc<HttpTransport>>);

impl Exchange {
    pub(in super::super) fn new(transport: HttpTransport) -> Self {
        Self(Mutex::new(Arc::new(transport)))
    }

    pub(in super::super) fn set(&self, transport: HttpTransport) {
        *self.lock() = Arc::new(transport);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<HttpTransport>> {
        self.0.lock().expect("BUG: a thread panicked while it held the transport")
    }
}

impl Transport for Exchange {
    async fn post(&self, body: Bytes, tenant: Option<&str>, now: Now) -> Answer {
        let transport = Arc::clone(&self.lock());
        transport.post(body, tenant, now).await
    }
}
