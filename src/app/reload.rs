//! A new configuration for an agent that runs: built beside the old one, and taken when all of it
//! is good.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::agent::Agent;
use super::build::{self, Builder};
use super::control::{self, Call, Change};
use super::current::{Setup, numbered};
use super::wake::{Adopt, Doorbell};
use crate::config::{Config, Input};
use crate::push::{HttpTransport, chain};

/// How long a reload is waited for; then it goes on by itself.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Most numbers of sources and tenants: batches count in 16 bits, and a source may have lines for
/// several tenants.
const NUMBERS_MAX: usize = 10_000;

/// How a reload went: what has changed, or why nothing has.
pub type Reloaded = Result<String, String>;

/// Somebody wants a reload, and to know how it went.
pub type Request = oneshot::Sender<Reloaded>;

/// Who wants the configuration to be read again, and how that is done.
pub struct Reloads {
    /// Reads and checks it; the error is all of its mistakes.
    pub load: Box<dyn Fn() -> Result<Config, String> + Send>,
    /// Those who want it.
    pub requests: mpsc::Receiver<Request>,
}

impl fmt::Debug for Reloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reloads")
    }
}

impl Agent {
    /// Reads the configuration again and takes it. When that fails, everything goes on as before.
    pub(super) async fn reload(&mut self) -> Reloaded {
        let Some(reloads) = &self.builder.extras.reloads else {
            return Err("there is no configuration file".to_owned());
        };
        let result = match (reloads.load)() {
            Ok(config) => self.adopt(config).await,
            Err(mistakes) => Err(mistakes),
        };
        let metrics = &self.builder.common.metrics;
        metrics.reloaded(result.is_ok(), self.builder.common.clock.now().wall);
        match &result {
            Ok(changed) => info!("the configuration was read again: {changed}"),
            Err(why) => {
                // Mistakes of the file were shown where they are found.
                let why = why.trim_end().lines().last();
                error!(why, "the configuration cannot be taken; going on with that of before");
            }
        }
        result
    }

    async fn adopt(&mut self, config: Config) -> Reloaded {
        let builder = &mut self.builder;
        can_follow(&builder.config, &config)?;
        let before = builder.common.current.setup();
        let setup = before.next(&config, &control::demoted(&builder.common));
        if NUMBERS_MAX < setup.sources.len() + setup.tenants.len() {
            return Err("sources and tenants had too many names since the start: restart".into());
        }
        for (source, _) in setup.configured() {
            for metric in setup.sources[usize::from(source.0)].plan.metrics() {
                builder.common.metrics.check_line_metric(metric)?;
            }
        }
        builder.can_follow(&setup)?;
        let transport = HttpTransport::new(config.push.clone()).map_err(|err| chain(&err))?;
        let scanner = build::scanner(&setup).map_err(|err| chain(&err))?;
        builder.common.pool.share_out(setup.shares(config.tenant_share()));
        builder.windows.grow(setup.sources.len());
        builder.common.registry.set_sources(setup.names());
        let there = builder.staff.len();
        let readers = if self.readers.is_empty() { Ok(vec![]) } else { builder.readers(&setup) };
        let readers = readers.map_err(|err| chain(&err))?;
        // From here on nothing can fail.
        builder.common.current.set(setup.clone());
        builder.transport.set(transport);
        builder.push.send_replace(Arc::new(config.push.clone()));
        let (done, finished) = mpsc::channel(1);
        let change = Change {
            adopts: builder.adopts(there, &setup, &done),
            scanner,
            from_end: build::from_end(&setup),
            fresh: fresh(&before, &setup),
            waits: setup.waits(),
            pods: Arc::clone(&setup.pods),
            readers: readers.iter().map(|(bell, _)| bell.clone()).collect(),
            _done: done,
        };
        builder.config = config;
        builder.follow(&setup, &self.control.0);
        self.readers.extend(readers);
        tell(self.control.0.clone(), change, finished).await;
        Ok(differences(&before, &setup))
    }
}

/// Tells the threads, and waits until they have changed.
async fn tell(calls: SyncSender<Call>, change: Change, mut finished: mpsc::Receiver<()>) {
    let told = tokio::task::spawn_blocking(move || {
        // It ends with the agent only.
        let _ = calls.send(Call::Adopt(Box::new(change)));
    });
    let all = async {
        let _ = told.await;
        while finished.recv().await.is_some() {}
    };
    let _ = tokio::time::timeout(WAIT_MAX, all).await;
}

impl Builder {
    /// What the first `workers` are told; those that were started since know it.
    fn adopts(
        &mut self,
        workers: usize,
        setup: &Setup,
        done: &mpsc::Sender<()>,
    ) -> Vec<(Doorbell, Adopt)> {
        let budget = self.budget(self.readers_count());
        let mut adopts = Vec::new();
        for worker in 0..workers {
            let ways = self.open_lanes(worker, setup);
            let (setup, done) = (setup.clone(), done.clone());
            let adopt = Adopt { setup, ways, budget, _done: done };
            adopts.push((self.staff[worker].bell.clone(), adopt));
        }
        adopts
    }
}

/// What is built once, so that a change of it needs a new process.
fn can_follow(old: &Config, new: &Config) -> Result<(), String> {
    let has = |config: &Config, stdin| {
        config.sources.iter().any(|source| (source.input == Input::Stdin) == stdin)
    };
    let stdin = |config: &Config| {
        let mut sources = config.sources.iter();
        let source = sources.find(|source| source.input == Input::Stdin);
        source.map(|source| source.name.clone())
    };
    let same = [
        ("state_dir", old.state_dir == new.state_dir),
        ("admin.listen", old.admin_listen == new.admin_listen),
        ("memory", old.memory == new.memory),
        ("batch", old.batch == new.batch),
        ("limits.line_bytes", old.limits.line_bytes == new.limits.line_bytes),
        ("deleted", old.deleted == new.deleted),
        ("dead_letters", old.dead_letters == new.dead_letters),
        ("the source with `stdin: true`", stdin(old) == stdin(new)),
        ("whether there are files", has(old, false) == has(new, false)),
    ];
    let other = same.iter().filter(|(_, same)| !same).map(|(what, _)| *what);
    match other.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => Ok(()),
        what => Err(format!("only a restart changes this: {what}")),
    }
}

/// By source, whether its files were not looked for before, or in other places.
fn fresh(before: &Setup, after: &Setup) -> Vec<bool> {
    let input = |setup: &Setup, idx| setup.of(numbered(idx)).map(|source| source.input.clone());
    (0..after.sources.len()).map(|idx| input(before, idx) != input(after, idx)).collect()
}

/// What a reload has done, for people.
fn differences(before: &Setup, after: &Setup) -> String {
    let (mut new, mut changed, mut gone) = (0, 0, 0);
    for idx in 0..after.sources.len() {
        let source = numbered(idx);
        match (before.of(source), after.of(source)) {
            (None, Some(_)) => new += 1,
            (Some(_), None) => gone += 1,
            (Some(_), Some(_)) => {
                changed += u32::from(!Arc::ptr_eq(&before.sources[idx], &after.sources[idx]));
            }
            (None, None) => {}
        }
    }
    let count = after.order.len();
    format!("sources {count}, of them new {new}, changed {changed}; gone {gone}")
}
