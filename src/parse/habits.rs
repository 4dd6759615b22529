//! What a source's lines are used to have between two values.
//!
//! The lines of one source repeat their keys, and mostly their order. What stands between two
//! values (`, "level": `) is remembered with the key it names, and with what followed it: the next
//! line is compared with that before it is read byte by byte. As all the bytes between values are
//! compared, and a value is always read, a habit cannot change what is found, only how fast.

use super::fields::Target;
use super::scan::{BLOCK, Block, equal_bytes};

/// Most habits that are remembered; with one more, all are forgotten.
const HABITS_MAX: usize = 64;

/// Most habits that are tried behind another one.
const NEXT_MAX: usize = 8;

/// How many hits save what a miss costs. Lines that miss more often are read without habits.
const MISS: u32 = 8;

/// What is given for each line, so that habits get another chance.
const LINE: u32 = 1;

/// Most hits that are kept for misses: enough to learn a few hundred new habits.
const CREDIT_MAX: u32 = 4096;

/// Where a line is: behind the habit with this number.
pub(super) type State = u8;

/// The start of a line.
pub(super) const START: State = 0;

/// Behind something that is not remembered.
const LOST: State = 1;

/// What was learned from the lines of one source.
#[derive(Debug)]
pub(super) struct Habits {
    /// By [`State`].
    all: [Habit; HABITS_MAX],
    /// How many there are.
    len: usize,
    /// Hits that no miss has used up yet.
    credit: u32,
}

/// Bytes between two values.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Habit {
    text: Block,
    /// A bit for each byte of `text` that does not belong to it, from `len` on.
    others: u32,
    len: u8,
    /// The habits that followed, the more frequent first; behind them [`START`].
    next: [State; NEXT_MAX],
    /// Where the value behind it goes.
    pub(super) target: Target,
}

impl Habit {
    /// No line is like this, as it is no UTF-8.
    const NONE: Self = Self {
        text: [0xFF; BLOCK],
        others: 0,
        len: 0,
        next: [START; NEXT_MAX],
        target: Target::Nowhere,
    };

    /// How many bytes it has.
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    fn is_at(&self, rest: &[u8]) -> bool {
        match rest.first_chunk() {
            Some(block) => equal_bytes(&self.text, block) | self.others == u32::MAX,
            None => self.is_near_end(rest),
        }
    }

    #[inline(never)]
    fn is_near_end(&self, rest: &[u8]) -> bool {
        self.len != 0 && rest.starts_with(&self.text[..self.len()])
    }
}

impl Habits {
    pub(super) fn new() -> Self {
        Self { all: [Habit::NONE; HABITS_MAX], len: 2, credit: CREDIT_MAX }
    }

    /// Begins a line. False when it is better read without habits.
    pub(super) fn begin(&mut self) -> bool {
        self.credit = CREDIT_MAX.min(self.credit + LINE);
        MISS <= self.credit
    }

    /// The habit that the line goes on with, of those that followed `state`.
    #[inline]
    pub(super) fn next(&mut self, state: State, rest: &[u8]) -> Option<State> {
        let next = self.get(state).next[0];
        if !self.get(next).is_at(rest) {
            return self.other(state, rest);
        }
        self.credit += 1;
        Some(next)
    }

    /// The same without the first.
    #[inline(never)]
    fn other(&mut self, state: State, rest: &[u8]) -> Option<State> {
        let next = &self.get(state).next;
        let idx = 1 + next[1..].iter().position(|&next| self.get(next).is_at(rest))?;
        let next = &mut self.all[usize::from(state)].next;
        next.swap(idx - 1, idx);
        Some(next[idx - 1])
    }

    #[inline]
    pub(super) fn get(&self, state: State) -> &Habit {
        &self.all[usize::from(state) % HABITS_MAX]
    }

    /// Remembers that behind `state` came `text`, which names a key whose value goes to `target`.
    pub(super) fn learn(&mut self, state: State, text: &[u8], target: Target) -> State {
        self.credit = self.credit.saturating_sub(MISS);
        let Some(habit) = Habit::new(text, target) else { return LOST };
        let is_same = |other: &Habit| (other.text, other.len) == (habit.text, habit.len);
        let known = self.all[..self.len].iter().position(is_same);
        let idx = known.unwrap_or(self.len);
        if idx == HABITS_MAX {
            *self = Self { credit: self.credit, ..Self::new() };
            return LOST;
        }
        if known.is_none() {
            self.all[idx] = habit;
            self.len += 1;
        }
        let new = State::try_from(idx).unwrap_or(LOST);
        let next = &mut self.all[usize::from(state)].next;
        let place = next.iter().position(|&next| next == START).unwrap_or(NEXT_MAX - 1);
        next[place] = new;
        new
    }
}

impl Habit {
    /// `None` when `text` is too long.
    fn new(text: &[u8], target: Target) -> Option<Self> {
        let mut block = [0; BLOCK];
        block.get_mut(..text.len())?.copy_from_slice(text);
        let len = u8::try_from(text.len()).ok()?;
        let others = u32::MAX.checked_shl(u32::from(len)).unwrap_or(0);
        Some(Self { text: block, others, len, target, ..Self::NONE })
    }
}

const _: () = assert!(HABITS_MAX <= 1 << State::BITS, "each has a number");
const _: () = assert!(BLOCK == 32, "each byte has a bit");
