//! A worker beside which a thread compresses and seals.

use std::collections::HashMap;

use super::*;

/// Lines of some streams, numbered from 0 on.
fn numbered(rng: &mut fastrand::Rng, file: usize, lines: usize) -> String {
    let line = |number| {
        let level = ["debug", "info", "error"][rng.usize(0..3)];
        let noise: String = (0..rng.usize(0..1200)).map(|_| rng.alphanumeric()).collect();
        format!("{{\"level\":\"{level}\",\"n\":[{file},{number}],\"x\":\"{noise}\"}}\n")
    };
    (0..lines).map(line).collect()
}

/// Every line comes once, in its stream's order, and is settled; with memory for a few batches, and
/// for less than two.
#[test]
fn a_worker_that_is_helped_delivers_all_that_it_reads() {
    const LINES: usize = 4000;
    for memory in [8 << 20, 1500 << 10, 600 << 10] {
        let pool = Pool::new(memory, || {});
        let mut bench = Bench::of(&[0], pool.clone());
        let (bell, inbox) = Doorbell::new();
        bench.worker.pipeline.help("helper".to_owned(), bell);
        let mut rng = fastrand::Rng::with_seed(memory);
        let mut bytes = 0;
        for file in 0..3 {
            let text = numbered(&mut rng, file, LINES);
            bytes += text.len() as u64;
            bench.find(&file.to_string(), &text);
        }
        let (mut newest, mut lines) = (HashMap::<(String, u64), u64>::new(), 0);
        let mut is_over = false;
        while !is_over {
            let done = bench.worker.turn(NOW, &mut Disk);
            is_over = matches!(done, Done::Idle(until) if NOW.mono < until);
            if is_over {
                bench.worker.pipeline.seal(NOW);
            }
            while let Some(sealed) = bench.worker.pipeline.take_sealed() {
                for (_, line) in entries(&sealed) {
                    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
                    let number = |idx: usize| line["n"][idx].as_u64().unwrap();
                    let stream = (line["level"].to_string(), number(0));
                    let before = newest.insert(stream, number(1));
                    assert!(before.is_none_or(|before| before < number(1)), "{before:?} {line}");
                    lines += 1;
                }
                bench.taken += sealed.receipt.counts;
                bench.registry.settle(&sealed.receipt.tickets, NOW);
            }
            if matches!(done, Done::NoPermit | Done::Busy) && bench.worker.pipeline.has_sealed() {
                inbox.recv_timeout(Duration::from_secs(10)).expect("the bell of a sealed batch");
            }
        }
        assert!(bench.worker.pipeline.is_empty());
        assert_eq!((lines, bench.taken.lines, bench.taken.bytes), (3 * LINES, 12_000, bytes));
        let saved = bench.registry.snapshot(NOW.wall).unwrap();
        assert_eq!(saved.map(|file| file.mark.offset.0).sum::<u64>(), bytes, "all is settled");
        assert_eq!(pool.used(), 0);
    }
}
