//! The way to Loki: connections cut at every byte, and answers that no server should give.

use std::collections::{HashMap, HashSet};
use std::iter;

use prost::Message as _;
use skald::wire::push::PushRequest;

use super::super::support::oracle::EXACT;
use super::super::support::proxy::{Act, Proxy, Request};
use super::super::support::{Bed, Found, Sent, eventually, http};

const LINES: u64 = 20;

/// A bed whose agent pushes through a proxy with this plan, and soon tries again.
fn bed(plan: impl FnMut() -> Act + Send + 'static) -> (Bed, Proxy) {
    let mut bed = Bed::new();
    let proxy = Proxy::start(bed.loki.addr(), plan);
    bed.url = Some(proxy.url());
    bed.retry = "{delay_min: 10ms, delay_max: 10ms}".to_owned();
    (bed, proxy)
}

fn delivered(bed: &Bed, sent: &Sent) {
    eventually("the acknowledgements", || {
        bed.metrics().get("lines_delivered_total") == sent.count()
    });
}

/// How many entries are in a push.
fn entries(request: &[u8]) -> u64 {
    let body = snap::raw::Decoder::new().decompress_vec(http::body(request)).unwrap();
    let push = PushRequest::decode(body.as_slice()).unwrap();
    push.streams.iter().map(|stream| stream.entries.len() as u64).sum()
}

/// Cuts the same push one byte later each time, until it comes through. Returns how often it was
/// cut, and what was found.
fn sweep(cut: fn(usize) -> Act) -> (usize, Found) {
    let mut after = 0..;
    let (bed, proxy) = bed(move || cut(after.next().unwrap()));
    let mut sent = Sent::default();
    bed.append("a.log", sent.lines("a", LINES));
    let skald = bed.run();
    delivered(&bed, &sent);
    let requests = proxy.requests();
    let (whole, cuts) = requests.split_last().unwrap();
    assert_eq!(whole.act, Act::Pass);
    for (idx, request) in cuts.iter().enumerate() {
        assert_eq!(request.act, cut(idx));
        assert!(whole.bytes.starts_with(&request.bytes), "try {idx} sent other bytes");
    }
    // Too late to be cut.
    bed.append("a.log", sent.lines("a", 1));
    delivered(&bed, &sent);
    bed.adds_up();
    skald.stop_well();
    (cuts.len(), sent.found(bed.loki.store()))
}

#[test]
fn a_request_cut_at_every_byte_arrives_once() {
    let (cuts, found) = sweep(Act::CutRequest);
    eprintln!("a request was cut {cuts} times: {found:?}");
    assert!(300 < cuts, "{cuts}");
    assert_eq!(found, EXACT);
}

#[test]
fn an_answer_cut_at_every_byte_repeats_no_more_than_its_push() {
    let (cuts, found) = sweep(Act::CutAnswer);
    eprintln!("an answer was cut {cuts} times: {found:?}");
    assert!("HTTP/1.1 204 No Content\r\n\r\n".len() <= cuts, "{cuts}");
    // It was stored each time.
    assert_eq!(found, Found { repeated: LINES * cuts as u64, ..EXACT });
}

#[test]
fn cuts_at_random_under_load_repeat_no_more_than_their_pushes() {
    let mut rng = fastrand::Rng::with_seed(5);
    let (bed, proxy) = bed(move || match rng.u8(..4) {
        0 => Act::CutRequest(rng.usize(..1000)),
        1 => Act::CutAnswer(rng.usize(..120)),
        _ => Act::Pass,
    });
    let mut sent = Sent::default();
    let skald = bed.run();
    for _ in 0..40 {
        bed.append("a.log", sent.lines("a", 50));
        bed.append("b.log", sent.lines("b", 50));
        let so_far = sent.count();
        eventually("some of it", || so_far < sent.arrived(bed.loki.store()) + 100);
    }
    delivered(&bed, &sent);
    bed.adds_up();
    skald.stop_well();
    // What was stored, by what came in: a push that is sent again has the same bytes.
    let (mut copies, mut acts) = (HashMap::<Vec<u8>, u64>::new(), HashSet::new());
    for Request { bytes, act } in proxy.requests() {
        acts.insert(std::mem::discriminant(&act));
        if !matches!(act, Act::CutRequest(_)) {
            *copies.entry(bytes).or_default() += 1;
        }
    }
    let repeated = copies.iter().map(|(bytes, copies)| (copies - 1) * entries(bytes)).sum();
    eprintln!("cuts at random: {} of {}, {repeated} repeats", proxy.acts(), copies.len());
    assert_eq!(acts.len(), 3, "not every fault happened");
    assert_ne!(repeated, 0);
    assert_eq!(sent.found(bed.loki.store()), Found { repeated, ..EXACT });
}

/// An answer, and what the agent makes of it.
struct Odd {
    name: &'static str,
    act: Act,
    /// The push is sent again, though it may have been stored.
    again: bool,
}

/// The receiver has stored the push; the agent is to understand that.
fn taken(name: &'static str, answer: &str) -> Odd {
    Odd { name, act: Act::StoreAndSay(answer.as_bytes().to_vec()), again: false }
}

/// The push did not reach the receiver; the agent is to send it again.
fn refused(name: &'static str, answer: &str) -> Odd {
    Odd { name, act: Act::Say(answer.as_bytes().to_vec()), again: true }
}

fn odd_answers() -> Vec<Odd> {
    let html = "<html><h1>502 Bad Gateway</h1></html>";
    let long = "x".repeat(10 << 20);
    let header = |len| format!("HTTP/1.1 204 No Content\r\nX-Long: {}\r\n\r\n", "x".repeat(len));
    vec![
        taken("100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"),
        taken("103", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 x\r\n\r\n"),
        taken(
            "chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        // The status has come; what is missing is not needed.
        taken("chunk cut", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\no"),
        taken("body cut", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"),
        taken("close", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"),
        taken("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nstored"),
        taken("no words", "HTTP/1.1 204\r\n\r\n"),
        taken("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok"),
        taken("two", "HTTP/1.1 204 x\r\n\r\nHTTP/1.1 400 x\r\nContent-Length: 0\r\n\r\n"),
        taken("long header", &header(10 << 10)),
        refused("HTML", &format!("HTTP/1.1 502 x\r\nContent-Length: {}\r\n\r\n{html}", html.len())),
        refused(
            "10 MB",
            &format!("HTTP/1.1 500 x\r\nContent-Length: {}\r\n\r\n{long}", long.len()),
        ),
        refused("10 MB without length", &format!("HTTP/1.1 500 x\r\n\r\n{long}")),
        refused("gzip", "HTTP/1.1 503 x\r\nContent-Encoding: gzip\r\n\r\n\x1f\x08no gzip"),
        refused("1 MB of header", &header(1 << 20)),
        refused("not HTTP", "SSH-2.0-OpenSSH_9.6\r\n"),
        refused("nothing", ""),
        refused("head cut", "HTTP/1.1 204 No Content\r\nDate: "),
        refused("1xx only", "HTTP/1.1 100 Continue\r\n\r\n"),
        refused("bad length", "HTTP/1.1 200 x\r\nContent-Length: many\r\n\r\n"),
        refused("nuls", "\0\0\0\0\r\n\r\n"),
    ]
}

#[test]
fn odd_answers_are_understood_or_asked_again() {
    let run = |Odd { name, act, again }: &Odd| {
        let (first, mut sent) = (act.clone(), Sent::default());
        let mut acts = iter::once(act.clone()).chain(iter::repeat(Act::Pass));
        let (bed, proxy) = bed(move || acts.next().unwrap());
        bed.append("a.log", sent.lines("a", LINES));
        let skald = bed.run();
        delivered(&bed, &sent);
        bed.append("a.log", sent.lines("a", LINES));
        delivered(&bed, &sent);
        let metrics = bed.adds_up();
        let requests = proxy.requests();
        assert_eq!(requests[0].act, first, "{name}");
        let retried = metrics.sum("push_retries_total");
        assert_eq!(retried, u64::from(*again), "{name}: {metrics:?}");
        if *again {
            assert_eq!(requests[0].bytes, requests[1].bytes, "{name}");
        }
        let peak = skald.status("VmHWM");
        assert!(peak < 40 << 10, "{name}: {peak} KiB");
        skald.stop_well();
        assert_eq!(sent.found(bed.loki.store()), EXACT, "{name}");
    };
    for some in odd_answers().chunks(8) {
        std::thread::scope(|scope| {
            for odd in some {
                scope.spawn(|| run(odd));
            }
        });
    }
}
