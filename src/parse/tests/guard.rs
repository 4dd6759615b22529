//! The guard on distinct values.

use std::time::Duration;

use super::{Format, NOW, Plan, label, options};
use crate::model::Now;
use crate::parse::{Admit, Demotion, Guard};

fn guard(values_max: u32) -> Guard {
    let mut options = options(Format::JSON);
    options.guard_values = values_max;
    options.rules = vec![label(&["a", "b"])];
    Guard::new(&Plan::compile(&options))
}

fn at(secs: u64) -> Now {
    Now { mono: Duration::from_secs(secs), ..NOW }
}

fn admit_all(guard: &mut Guard, values: std::ops::Range<usize>, now: Now) -> Vec<Demotion> {
    let mut demotions = Vec::new();
    for value in values {
        if let Admit::Demote(demotion) = guard.admit(&[&value.to_string(), "same"], now) {
            demotions.push(demotion);
        }
    }
    demotions
}

#[test]
fn a_label_that_explodes_is_demoted_once() {
    let mut guard = guard(3);
    assert_eq!(admit_all(&mut guard, 0..3, at(0)), []);
    assert_eq!(admit_all(&mut guard, 0..3, at(1)), [], "known values count once");
    let demotion = Demotion { label: "a".to_owned(), count: 4, example: "3".to_owned() };
    assert_eq!(admit_all(&mut guard, 3..100, at(2)), [demotion]);
    assert_eq!(guard.flags(), [true, false]);
    assert_eq!(guard.demoted(), ["a"]);
}

#[test]
fn windows_start_anew() {
    let mut guard = guard(3);
    assert_eq!(guard.epoch(at(3599)), 0);
    assert_eq!(admit_all(&mut guard, 0..3, at(3599)), []);
    assert_eq!(guard.epoch(at(3600)), 1);
    assert_eq!(admit_all(&mut guard, 3..6, at(7199)), []);
    assert_eq!(admit_all(&mut guard, 6..9, at(7200)), []);
    assert_eq!(guard.epoch(at(7200)), 2);
    assert_eq!(guard.epoch(at(100_000)), 3);
    assert!(guard.demoted().is_empty());
}

#[test]
fn absent_values_do_not_count() {
    let mut guard = guard(1);
    for value in ["", "x", "", "x"] {
        assert_eq!(guard.admit(&[value, ""], at(0)), Admit::Yes);
    }
}

#[test]
fn one_label_at_a_time() {
    let mut guard = guard(1);
    assert_eq!(guard.admit(&["1", "1"], at(0)), Admit::Yes);
    for label in ["a", "b"] {
        match guard.admit(&["2", "2"], at(0)) {
            Admit::Demote(demotion) => assert_eq!(demotion.label, label),
            Admit::Yes => panic!("{label} has two values"),
        }
    }
    assert_eq!(guard.admit(&["3", "3"], at(0)), Admit::Yes);
}

#[test]
fn decisions_survive_a_restart() {
    let mut guard = guard(3);
    guard.restore(&["b".to_owned(), "no longer a label".to_owned()]);
    assert_eq!(guard.flags(), [false, true]);
    assert_eq!(guard.demoted(), ["b"]);
}

#[test]
fn zero_is_no_guard() {
    let mut guard = guard(0);
    assert_eq!(admit_all(&mut guard, 0..10_000, at(0)), []);
}
