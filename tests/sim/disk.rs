//! A disk that forgets what was not synced, fails when told to, and uses inode numbers again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use skald::model::{FileStat, Files, Identity, Kind, UnixNanos};

use crate::choices::Choices;

/// A log file. Its content survives a power cut: the services that write it are not under test.
#[derive(Debug)]
pub(crate) struct Inode {
    /// Its number, which a later file may get.
    pub(crate) number: u64,
    /// When it was made.
    pub(crate) born: UnixNanos,
    /// The source whose globs find it.
    pub(crate) source: usize,
    /// When it was last written.
    pub(crate) modified: Cell<UnixNanos>,
    clock: Rc<Cell<UnixNanos>>,
    /// Its bytes.
    pub(crate) data: RefCell<Vec<u8>>,
    /// Its names.
    pub(crate) links: Cell<u64>,
    /// How often the agent has it open.
    pub(crate) opens: Cell<u32>,
    /// Which of the truth's generations it holds.
    pub(crate) generation: Cell<usize>,
}

impl Inode {
    /// Its content was changed.
    pub(crate) fn touch(&self) {
        self.modified.set(self.clock.get());
    }
}

/// The agent's descriptor of a log file.
#[derive(Debug)]
pub(crate) struct Handle(Rc<Inode>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.opens.set(self.0.opens.get() - 1);
    }
}

/// A file in the state folder.
#[derive(Debug, Clone, Default)]
struct Blob {
    bytes: Vec<u8>,
    /// What a power cut leaves for certain.
    synced: Option<Vec<u8>>,
}

type Names = BTreeMap<PathBuf, Rc<RefCell<Blob>>>;

/// What goes wrong.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// One in so many operations on log files fails; 0 is none.
    pub(crate) log_every: u64,
    /// One in so many operations on the state folder fails; 0 is none.
    pub(crate) state_every: u64,
    /// The process dies at this operation on the state folder, counted down from here.
    pub(crate) die_in: Option<u32>,
    /// The power goes at this operation of any kind, counted down from here.
    pub(crate) cut_in: Option<u64>,
    /// Mutation: `sync` claims success and does nothing.
    pub(crate) sync_lies: bool,
    /// Mutation: `sync_folder` does so.
    pub(crate) sync_folder_lies: bool,
    /// Mutation: a file that was deleted cannot be read, though it is open.
    pub(crate) deleted_is_gone: bool,
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Disk {
    rng: fastrand::Rng,
    /// The time on the wall.
    pub(crate) clock: Rc<Cell<UnixNanos>>,
    /// Log files by name.
    pub(crate) names: BTreeMap<PathBuf, Rc<Inode>>,
    /// All inodes that may still be in use, for their numbers.
    inodes: Vec<Rc<Inode>>,
    /// One in so many new files takes a free number; 0 is none.
    reuse_every: u64,
    next_inode: u64,
    state: Names,
    /// The names that the state folder has had since it was synced, the oldest first.
    state_before: Vec<Names>,
    /// What a power cut leaves.
    pub(crate) choices: Choices,
    /// What goes wrong.
    pub(crate) faults: Faults,
    /// The process died in an operation.
    pub(crate) died: bool,
    /// Operations that failed.
    pub(crate) failures: u64,
    /// Files of the state folder that a power cut tore or took back.
    pub(crate) torn: u64,
    /// Files that got the number of a deleted one.
    pub(crate) reused: u64,
}

impl Disk {
    pub(crate) fn new(mut rng: fastrand::Rng, reuse_every: u64) -> Self {
        Self {
            choices: Choices::Chance(rng.fork()),
            rng,
            clock: Rc::default(),
            names: BTreeMap::new(),
            inodes: Vec::new(),
            reuse_every,
            next_inode: 100,
            state: Names::new(),
            state_before: Vec::new(),
            faults: Faults::default(),
            died: false,
            failures: 0,
            torn: 0,
            reused: 0,
        }
    }

    fn one_in(&mut self, every: u64) -> bool {
        every != 0 && self.rng.u64(0..every) == 0
    }

    /// Creates a log file, in place of the one that has the name.
    pub(crate) fn create(&mut self, path: &Path, source: usize, now: UnixNanos) -> Rc<Inode> {
        self.unlink(path);
        // A scan takes a number that is used again under another name for a renamed file, which
        // stays with its source: that is known to go wrong between sources.
        let free = |inode: &Rc<Inode>| {
            inode.source == source && inode.links.get() == 0 && Rc::strong_count(inode) == 1
        };
        let free = self.inodes.iter().position(free);
        let number = match free {
            Some(idx) if self.one_in(self.reuse_every) => {
                self.reused += 1;
                self.inodes.swap_remove(idx).number
            }
            _ => {
                self.next_inode += 1;
                self.next_inode
            }
        };
        let inode = Rc::new(Inode {
            number,
            born: now,
            source,
            modified: Cell::new(now),
            clock: Rc::clone(&self.clock),
            data: RefCell::default(),
            links: Cell::new(1),
            opens: Cell::new(0),
            generation: Cell::new(0),
        });
        self.inodes.push(Rc::clone(&inode));
        self.names.insert(path.to_owned(), Rc::clone(&inode));
        inode
    }

    /// Takes a name away.
    pub(crate) fn unlink(&mut self, path: &Path) -> Option<Rc<Inode>> {
        let inode = self.names.remove(path)?;
        inode.links.set(0);
        Some(inode)
    }

    /// Gives a log file another name. Returns the file that had it.
    pub(crate) fn rename_log(&mut self, from: &Path, to: &Path) -> Option<Rc<Inode>> {
        let inode = self.names.remove(from)?;
        let replaced = self.unlink(to);
        self.names.insert(to.to_owned(), inode);
        replaced
    }

    /// Makes a copy of a log file under another name, as compressing does: the name's ending says
    /// that it is to be decompressed, and this disk shows what that gives.
    pub(crate) fn copy(&mut self, from: &Inode, to: &Path, now: UnixNanos) -> Rc<Inode> {
        let copy = self.create(to, from.source, now);
        copy.data.borrow_mut().clone_from(&from.data.borrow());
        copy.generation.set(from.generation.get());
        copy
    }

    /// The names of the files that hold a generation.
    pub(crate) fn names_of(&self, generation: usize) -> impl Iterator<Item = &Path> {
        let holds = move |inode: &Inode| inode.generation.get() == generation;
        self.names.iter().filter(move |(_, inode)| holds(inode)).map(|(path, _)| path.as_path())
    }

    /// Whether the agent has a file open that holds a generation.
    pub(crate) fn is_open(&self, generation: usize) -> bool {
        let holds = |inode: &Rc<Inode>| inode.generation.get() == generation;
        self.inodes.iter().any(|inode| holds(inode) && 0 < inode.opens.get())
    }

    /// What was not synced may be gone, or half there.
    pub(crate) fn power_cut(&mut self) {
        // The folder may have reached the disk by itself, up to any change.
        let before = self.choices.choose(self.state_before.len() + 1);
        if let Some(names) = self.state_before.get(before) {
            self.torn += 1;
            self.state = names.clone();
        }
        for blob in self.state.values() {
            let mut blob = blob.borrow_mut();
            let mut bytes = std::mem::take(&mut blob.bytes);
            if blob.synced.as_ref() == Some(&bytes) {
                blob.bytes = bytes;
                continue;
            }
            self.torn += 1;
            let kind = self.choices.choose(4);
            let quarters = if kind < 2 { self.choices.choose(4) } else { 0 };
            let from = bytes.len() * quarters / 4;
            match kind {
                0 => bytes.truncate(from),
                1 => bytes[from..].fill(0),
                2 => bytes = blob.synced.clone().unwrap_or_default(),
                _ => {}
            }
            blob.bytes = bytes;
            blob.synced = Some(blob.bytes.clone());
        }
        self.state_before.clear();
    }

    /// A new process uses the disk.
    pub(crate) fn restarted(&mut self) {
        self.died = false;
        self.faults.die_in = None;
    }

    /// One operation more, of any kind.
    fn operation(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.faults.cut_in {
            *left = left.saturating_sub(1);
            self.died |= *left == 0;
        }
        if self.died { Err(io::Error::other("the process is dead")) } else { Ok(()) }
    }

    fn log_operation(&mut self) -> io::Result<()> {
        self.operation()?;
        if self.one_in(self.faults.log_every) {
            self.failures += 1;
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }

    fn state_operation(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.faults.die_in {
            *left = left.saturating_sub(1);
            self.died |= *left == 0;
        }
        self.operation()?;
        if self.one_in(self.faults.state_every) {
            self.failures += 1;
            return Err(io::Error::other("injected"));
        }
        Ok(())
    }

    fn blob(&self, path: &Path) -> io::Result<Rc<RefCell<Blob>>> {
        self.state.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Files for Disk {
    type File = Handle;

    fn open(&mut self, path: &Path) -> io::Result<Handle> {
        self.log_operation()?;
        let inode = self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        inode.opens.set(inode.opens.get() + 1);
        Ok(Handle(Rc::clone(inode)))
    }

    fn stat(&mut self, file: &Handle) -> io::Result<FileStat> {
        self.log_operation()?;
        let inode = &file.0;
        Ok(FileStat {
            identity: Identity { device: 1, inode: inode.number, birth: Some(inode.born).into() },
            size: inode.data.borrow().len() as u64,
            links: inode.links.get(),
            modified: inode.modified.get(),
            kind: Kind::File,
        })
    }

    fn read_at(&mut self, file: &Handle, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.log_operation()?;
        if self.faults.deleted_is_gone && file.0.links.get() == 0 {
            return Err(io::Error::other("deleted"));
        }
        let data = file.0.data.borrow();
        let from = usize::try_from(offset).expect("it fits").min(data.len());
        let mut len = buf.len().min(data.len() - from);
        if 1 < len && self.rng.u8(0..4) == 0 {
            len = self.rng.usize(1..len);
        }
        buf[..len].copy_from_slice(&data[from..from + len]);
        Ok(len)
    }

    fn read_all(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.blob(path)?.borrow().bytes.clone())
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if !self.state.contains_key(path) {
            self.state_before.push(self.state.clone());
        }
        let blob = Rc::clone(self.state.entry(path.to_owned()).or_default());
        // The old content is cut off before the new one comes.
        blob.borrow_mut().bytes.clear();
        if let Err(error) = self.state_operation() {
            let len = self.rng.usize(0..=bytes.len());
            blob.borrow_mut().bytes = bytes[..len].to_vec();
            return Err(error);
        }
        blob.borrow_mut().bytes = bytes.to_vec();
        Ok(())
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let blob = self.blob(path)?;
        let result = self.state_operation();
        let len = if result.is_ok() { bytes.len() } else { self.rng.usize(0..=bytes.len()) };
        blob.borrow_mut().bytes.extend_from_slice(&bytes[..len]);
        result
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        self.state_operation()?;
        let blob = self.blob(path)?;
        if !self.faults.sync_lies {
            let mut blob = blob.borrow_mut();
            blob.synced = Some(blob.bytes.clone());
        }
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.state_operation()?;
        let blob = self.blob(from)?;
        self.state_before.push(self.state.clone());
        self.state.remove(from);
        self.state.insert(to.to_owned(), blob);
        Ok(())
    }

    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        self.state_operation()?;
        if !self.faults.sync_folder_lies {
            self.state_before.clear();
        }
        Ok(())
    }
}
