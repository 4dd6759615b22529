//! One line from its bytes to an entry, with the default rules, on all logs.

mod common;

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skald::model::{Now, Stamp};
use skald::parse::{Line, Parser, Plan, Verdict};

fn parse(c: &mut Criterion) {
    let plan = Arc::new(Plan::compile(&common::options()));
    let mut parser = Parser::new(plan, true);
    let mut group = c.benchmark_group("parse");
    for (name, log) in common::logs() {
        group.throughput(Throughput::Bytes(log.len() as u64));
        // To find the newlines takes as long as half of the parsing; it is the pipeline bench's part.
        let lines: Vec<&[u8]> = log.trim_ascii_end().split(|byte| *byte == b'\n').collect();
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut stamp = Stamp::default();
                for bytes in &lines {
                    let line = Line { bytes, truncated_from: None };
                    parser.line(line, &mut stamp, NOW, |verdict| match verdict {
                        Verdict::Emit(entry) => drop(black_box(entry)),
                        verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => {
                            panic!("{verdict:?}")
                        }
                    });
                }
            });
        });
    }
    group.finish();
}

const NOW: Now = common::NOW;

criterion_group!(benches, parse);
criterion_main!(benches);
