//! Time, and what happens in it: one seed is one run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use skald::checkpoint::{self, SavedFile, State};
use skald::model::{Now, UnixNanos};

use crate::agent::{Agent, Mutation, stem};
use crate::checks::{Check, Result, Truth, ensure};
use crate::disk::{Disk, Inode};
use crate::knobs::{Hold, Knobs};
use crate::loki::Loki;
use crate::writer::{self, Site, Writer, is_in_globs};

/// The wall clock at the beginning, 2026-11-01.
const BEGINNING: i64 = 1_793_491_200_000_000_000;

const STATE: &str = "/state";

/// Once Loki answers, everything is delivered within this time.
const PROGRESS: Duration = Duration::from_secs(30);

const TICK: Duration = Duration::from_secs(1);

/// What happened in one or more runs.
#[derive(Debug, Default, Clone)]
pub(crate) struct Stats {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) answers: BTreeMap<&'static str, u64>,
}

impl Stats {
    fn add(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(name, count)| self.add(name, *count));
        for (name, count) in &other.answers {
            *self.answers.entry(name).or_default() += count;
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Next {
    Step,
    Scan,
    Hear,
    Save,
    Write,
    Weather,
    End,
    Start,
}

/// Everything.
pub(crate) struct World {
    rng: fastrand::Rng,
    pub(crate) knobs: Knobs,
    mutation: Mutation,
    /// Time since the beginning.
    pub(crate) time: Duration,
    pub(crate) disk: Disk,
    pub(crate) loki: Loki,
    pub(crate) truth: Truth,
    writer: Writer,
    pub(crate) agent: Option<Agent>,
    /// When the process started.
    started: Duration,
    /// When it starts.
    pub(crate) start_at: Duration,
    end_at: Duration,
    scan_at: Duration,
    hear_at: Duration,
    save_at: Duration,
    write_at: Duration,
    weather_at: Duration,
    /// The last checkpoint that was saved, and those that may have been since.
    saved: State,
    attempts: Vec<State>,
    /// The power was cut since the last start.
    was_cut: bool,
    /// Generations that had left the globs before the process that runs started.
    before_us: Vec<usize>,
    /// Processes that have ended.
    pub(crate) ends: u64,
    pub(crate) stats: Stats,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, mutation: Mutation) -> Result<Stats> {
    let knobs = Knobs::new(&mut fastrand::Rng::with_seed(seed));
    let mut world = World::new(seed, knobs, mutation);
    world.live()?;
    world.heal()?;
    Ok(world.finish())
}

impl World {
    pub(crate) fn new(seed: u64, knobs: Knobs, mutation: Mutation) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x5ca1_ab1e);
        let mut disk = Disk::new(rng.fork(), knobs.inode_reuse);
        disk.faults.log_every = knobs.log_faults;
        disk.faults.state_every = knobs.state_faults;
        disk.faults.sync_lies = mutation == Mutation::SkipFsync;
        disk.faults.sync_folder_lies = mutation == Mutation::SkipFolderSync;
        disk.faults.deleted_is_gone = mutation == Mutation::DropDeleted;
        Self {
            loki: Loki::new(rng.fork()),
            writer: Writer::new(rng.fork(), knobs.clone()),
            rng,
            knobs,
            mutation,
            time: Duration::ZERO,
            disk,
            truth: Truth::default(),
            agent: None,
            started: Duration::ZERO,
            start_at: Duration::ZERO,
            end_at: Duration::MAX,
            scan_at: Duration::MAX,
            hear_at: Duration::MAX,
            save_at: Duration::MAX,
            write_at: Duration::ZERO,
            weather_at: Duration::ZERO,
            saved: State::default(),
            attempts: Vec::new(),
            was_cut: false,
            before_us: Vec::new(),
            ends: 0,
            stats: Stats::default(),
        }
    }

    /// Services write, and all that may go wrong does.
    pub(crate) fn live(&mut self) -> Result {
        while self.time < self.knobs.duration {
            self.event()?;
        }
        Ok(())
    }

    fn wall(&self) -> UnixNanos {
        UnixNanos(BEGINNING).plus(self.time)
    }

    fn now(&self) -> Now {
        Now { mono: self.time.saturating_sub(self.started), wall: self.wall() }
    }

    /// The next thing happens.
    fn event(&mut self) -> Result {
        let agent_at = self.agent.as_ref().map_or(Duration::MAX, Agent::next_at);
        let agent_at = agent_at.saturating_add(self.started);
        let all = [
            (agent_at, Next::Step),
            (self.hear_at, Next::Hear),
            (self.scan_at, Next::Scan),
            (self.save_at, Next::Save),
            (self.write_at, Next::Write),
            (self.weather_at, Next::Weather),
            (self.end_at, Next::End),
            (self.start_at, Next::Start),
        ];
        let (at, next) = all.into_iter().min_by_key(|(at, _)| *at).expect("there is always one");
        assert!(at != Duration::MAX, "time has stopped");
        self.time = self.time.max(at);
        let now = self.now();
        self.disk.clock.set(now.wall);
        match next {
            Next::Step => {
                if let Some(agent) = &mut self.agent {
                    agent.step(now, &mut self.disk, &mut self.loki, &mut self.truth)?;
                    if agent.is_stopping() && agent.is_drained() {
                        self.save()?;
                        self.stats.add("orderly stops", 1);
                        self.end(false);
                    }
                }
            }
            Next::Scan => self.scan(),
            Next::Hear => self.hear(),
            Next::Save => return self.save(),
            Next::Write => self.write(),
            Next::Weather => {
                self.weather_at = self.time + self.loki.change(self.time);
            }
            Next::End => self.end_somehow(),
            Next::Start => self.start()?,
        }
        if self.disk.died && self.agent.is_some() {
            self.end(true);
        }
        Ok(())
    }

    fn write(&mut self) {
        let agent = &self.agent;
        let read_to = |inode: &Inode| agent.as_ref().map_or(0, |agent| agent.read_to(inode));
        let wall = self.wall();
        let mut site = Site {
            disk: &mut self.disk,
            truth: &mut self.truth,
            mono: self.time,
            wall,
            read_to: &read_to,
        };
        self.write_at = self.time + self.writer.step(&mut site);
        let now = self.now();
        if let Some(agent) = &mut self.agent {
            agent.hint(self.knobs.one_in_hint, now, &mut self.disk);
        }
    }

    fn scan(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.scan(&self.knobs, &self.disk);
        }
        (self.scan_at, self.hear_at) = (Duration::MAX, self.time + self.knobs.hear);
    }

    fn hear(&mut self) {
        let now = self.now();
        if let Some(agent) = &mut self.agent {
            agent.pass_on(now, &mut self.disk);
            // What was still written to them until they were looked into.
            self.before_us.iter().for_each(|left| self.truth.was_before_us(*left));
        }
        (self.scan_at, self.hear_at) = (self.time + self.knobs.scan, Duration::MAX);
    }

    /// Saves the checkpoint as `app::control` does.
    fn save(&mut self) -> Result {
        self.save_at = self.time + TICK;
        let wall = self.wall();
        let Some(agent) = &self.agent else { return Ok(()) };
        let Some(state) = agent.snapshot(wall) else { return Ok(()) };
        self.truth.not_ahead(&state.files)?;
        self.attempts.push(state.clone());
        if checkpoint::save(&mut self.disk, Path::new(STATE), &state.files, &state.demoted).is_ok()
        {
            self.stats.add("saves", 1);
            self.saved = state;
            self.attempts.clear();
        } else {
            agent.set_dirty();
            self.stats.add("failed saves", 1);
        }
        if self.disk.died {
            self.stats.add("kills in a save", 1);
            self.end(true);
        }
        Ok(())
    }

    fn end_somehow(&mut self) {
        let now = self.now();
        self.end_at = self.time + self.lifetime();
        match self.rng.u8(0..6) {
            0 => {
                if let Some(agent) = &mut self.agent {
                    agent.stop(now);
                    // The deadline.
                    self.end_at = self.time + Duration::from_secs(25);
                }
            }
            1 => self.disk.faults.die_in = Some(self.rng.u32(1..6)),
            _ => {
                self.stats.add("kills", 1);
                self.end(true);
            }
        }
    }

    /// The process is no more.
    fn end(&mut self, suddenly: bool) {
        self.agent = None;
        self.ends += 1;
        (self.scan_at, self.hear_at) = (Duration::MAX, Duration::MAX);
        (self.save_at, self.end_at) = (Duration::MAX, Duration::MAX);
        self.start_at = self.time + Duration::from_millis(self.rng.u64(0..10_000));
        if suddenly && self.rng.u64(0..self.knobs.one_in_cut) == 0 {
            self.stats.add("power cuts", 1);
            self.disk.power_cut();
            self.was_cut = true;
        }
        for generation in 0..self.truth.generations.len() {
            if self.disk.names_of(generation).next().is_none() {
                self.truth.destroyed(generation, 0);
            }
        }
    }

    fn start(&mut self) -> Result {
        self.disk.restarted();
        let loaded = checkpoint::load(&mut self.disk, Path::new(STATE)).expect("it can be read");
        let known = loaded.state == self.saved || self.attempts.contains(&loaded.state);
        ensure(Check::Saved, loaded.damage.is_empty() && known, || {
            format!("{:?}; {:?} is none of {:?}", loaded.damage, loaded.state, self.saved)
        })?;
        self.truth.restarted(&loaded.state.files);
        if std::mem::take(&mut self.was_cut) {
            // Only a power cut tells which of them it was for good.
            self.saved = loaded.state.clone();
            self.attempts.clear();
        }
        let files = loaded.state.files;
        self.leave_what_was_before(&files);
        self.agent = Some(Agent::start(&self.knobs, files, self.rng.fork(), self.mutation));
        (self.started, self.start_at) = (self.time, Duration::MAX);
        (self.scan_at, self.save_at) = (self.time, self.time + TICK);
        self.end_at = self.time + self.lifetime();
        self.stats.add("starts", 1);
        Ok(())
    }

    /// What has left the globs, of files that nobody has followed yet, is from before our time.
    fn leave_what_was_before(&mut self, files: &[SavedFile]) {
        let is_followed = |path: &Path| files.iter().any(|file| *file.stem == *stem(path));
        let names = self.disk.names.iter();
        let left = names.filter(|(path, _)| !is_in_globs(path, &self.knobs) && !is_followed(path));
        let mut left: Vec<usize> = left.map(|(_, inode)| inode.generation.get()).collect();
        let is_found =
            |&left: &usize| self.disk.names_of(left).any(|path| is_in_globs(path, &self.knobs));
        left.retain(|left| !is_found(left));
        left.iter().for_each(|left| self.truth.was_before_us(*left));
        self.before_us = left;
    }

    fn lifetime(&mut self) -> Duration {
        let life = self.knobs.life;
        life.map_or(Duration::MAX / 2, |mean| Duration::from_millis(self.rng.u64(0..2 * mean)))
    }

    /// All is well from here on: everything that can be delivered is, in time, and once.
    pub(crate) fn heal(&mut self) -> Result {
        self.calm_down()?;
        self.arrives()?;
        let now = self.now();
        if let Some(agent) = &mut self.agent {
            agent.stop(now);
        }
        let stops = |world: &Self| world.agent.as_ref().is_some_and(Agent::is_stopping);
        self.until(self.time + PROGRESS, |world| !stops(world))?;
        ensure(Check::Progress, !stops(self), || "it does not stop".to_owned())?;
        // Another start finds nothing to send.
        self.until(self.time + 2 * PROGRESS, |_| false)
    }

    /// Nothing goes wrong any more, and nothing is written.
    pub(crate) fn calm_down(&mut self) -> Result {
        self.writer.finish(&mut self.truth);
        self.loki.healed = true;
        self.disk.faults.log_every = 0;
        self.disk.faults.state_every = 0;
        self.disk.faults.die_in = None;
        self.knobs.life = None;
        (self.write_at, self.weather_at, self.end_at) =
            (Duration::MAX, Duration::MAX, Duration::MAX);
        if self.agent.as_ref().is_some_and(Agent::is_stopping) {
            self.end(false);
        }
        if self.agent.is_none() {
            self.start_at = self.time;
            self.event()?;
        }
        Ok(())
    }

    /// All lines that have to come do.
    fn arrives(&mut self) -> Result {
        // Nothing that only waits: every 30 s there is less to do.
        let waits = self.agent.as_ref().map_or(Duration::ZERO, Agent::waits_until);
        let mut deadline = self.time.max(self.started + waits) + PROGRESS;
        let mut missing = self.truth.missing();
        loop {
            self.until(deadline, |world| world.truth.missing() == 0)?;
            let left = self.truth.missing();
            if left == 0 || left == missing {
                break;
            }
            missing = left;
            deadline = self.time + PROGRESS;
        }
        if let Err(mut broken) = self.truth.nothing_lost(Check::Progress) {
            broken.text += &self.agent.as_ref().map_or(String::new(), Agent::describe);
            // Late, or never?
            self.until(deadline + Duration::from_secs(600), |world| world.truth.missing() == 0)?;
            broken.check =
                self.truth.nothing_lost(Check::Lost).err().map_or(broken.check, |lost| lost.check);
            return Err(broken);
        }
        Ok(())
    }

    /// Goes on until `deadline`, or until a look every second finds that it is `done`.
    pub(crate) fn until(&mut self, deadline: Duration, done: impl Fn(&Self) -> bool) -> Result {
        let mut look_at = self.time;
        while self.time < deadline {
            if look_at <= self.time {
                look_at = self.time + TICK;
                if done(self) {
                    break;
                }
            }
            self.event()?;
        }
        Ok(())
    }

    /// Counts what happened.
    ///
    /// # Panics
    /// If the harness let something be destroyed that it should have held.
    pub(crate) fn finish(mut self) -> Stats {
        let excused = self.truth.excused() as u64;
        let before_us = self.truth.before_us;
        let may_lose = match self.knobs.hold {
            Hold::Answered => false,
            Hold::Opened => 0 < self.ends,
            Hold::Never => true,
        };
        let is_held = may_lose || excused == 0 || self.truth.is_before_us;
        assert!(is_held, "{excused} lines were destroyed against the rules, {:?}", self.knobs);
        let writer::Done { rotations, truncations, copies, regrown, compressed, .. } =
            self.writer.done;
        let writer::Done { deletions, postponed, .. } = self.writer.done;
        for (name, count) in [
            ("lines", self.truth.lines.len() as u64),
            ("destroyed before they had to be read", excused),
            ("left the globs before their file was followed", before_us),
            ("duplicates", self.truth.duplicates),
            ("rotations", rotations),
            ("rotations postponed", postponed),
            ("truncations", truncations),
            ("truncations with a copy", copies),
            ("truncations regrown to the byte", regrown),
            ("compressed generations", compressed),
            ("deletions", deletions),
            ("disk failures", self.disk.failures),
            ("torn files", self.disk.torn),
            ("reused inodes", self.disk.reused),
        ] {
            self.stats.add(name, count);
        }
        self.stats.answers = std::mem::take(&mut self.loki.answers);
        self.stats
    }
}
