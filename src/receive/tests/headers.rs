//! What headers and bodies decide: rows 8, 25 and 26 of the contract, and JSON.

use std::io::Write as _;

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

fn pull(mut reader: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn row_08_headers_decide_how_a_body_is_read() {
    let bench = Bench::loki(|_| ()).await;
    let request = PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(0, "x")])] };
    let proto = request.encode_to_vec();
    let good = snap(&proto);
    let json = br#"{"streams":[{"stream":{"a":"b"},"values":[["1768467600000000000","x"]]}]}"#;
    let mut framed = snap::write::FrameEncoder::new(Vec::new());
    framed.write_all(&proto).unwrap();
    let framed = framed.into_inner().unwrap();
    let gzip = |bytes: &[u8]| pull(GzEncoder::new(bytes, Compression::fast()));
    let (kind, encoding) = ("content-type", "content-encoding");
    let (cut, trailing) = (good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat());
    let corrupt = "400 snappy: corrupt input";
    let larger = "400 received message larger than max (4294967295 vs 2147483647)";
    for (headers, body, expected) in [
        (&[][..], good.clone(), "204"),
        (&[(encoding, "snappy")], good.clone(), "204"),
        (&[(kind, "foo")], good.clone(), "204"),
        (&[(kind, "text/plain; a=b;")], good.clone(), "204"),
        (&[(kind, "")], good.clone(), "400 mime: no media type"),
        (&[(kind, "a/b/c")], good.clone(), "400 mime: unexpected content after media subtype"),
        (&[(kind, "x/y; ;")], good.clone(), "400 mime: invalid media parameter"),
        (&[(encoding, "zstd")], good.clone(), r#"400 Content-Encoding "zstd" not supported"#),
        (&[(encoding, "Snappy")], good.clone(), r#"400 Content-Encoding "Snappy" not supported"#),
        (&[], framed, corrupt),
        (&[], proto.clone(), corrupt),
        (&[], cut, corrupt),
        (&[], trailing, corrupt),
        (&[], Vec::new(), corrupt),
        (&[], vec![0xff, 0xff, 0xff, 0xff, 0x07], corrupt),
        (&[], vec![0xff, 0xff, 0xff, 0xff, 0x0f], larger),
        (&[(encoding, "gzip")], gzip(&good), "204"),
        (&[(encoding, "gzip")], gzip(&proto), corrupt),
        (&[(encoding, "gzip")], good.clone(), "400 gzip: invalid header"),
        (&[(encoding, "gzip")], gzip(&good)[..20].to_vec(), "400 unexpected EOF"),
        (&[(encoding, "gzip")], Vec::new(), "400 EOF"),
        (&[(encoding, "deflate")], pull(DeflateEncoder::new(&*good, Compression::fast())), "204"),
        (
            &[(encoding, "deflate")],
            pull(ZlibEncoder::new(&*good, Compression::fast())),
            "400 flate: corrupt input",
        ),
        (&[(kind, "Application/JSON; charset=utf-8")], json.to_vec(), "204"),
        (&[(kind, "application/json"), (encoding, "snappy")], json.to_vec(), "204"),
        (&[(kind, "application/json"), (encoding, "gzip")], gzip(json), "204"),
    ] {
        let (status, text) = bench.post(PUSH, headers, body).await;
        assert_eq!(format!("{status} {text}").trim_end(), expected, "{headers:?}");
    }
    assert_eq!(bench.post("/api/prom/push", &[], good).await.0, 204);
    let stats = bench.receiver.store().stats();
    assert_eq!((stats.entries, stats.swallowed, stats.streams), (1, 9, 1));
    assert_eq!(stats.pushes, [("204".to_owned(), 10), ("400".to_owned(), 17)].into());
    let labels = r#"{a="b", service_name="unknown_service"}"#.to_owned();
    assert_eq!(stats.per_stream, [(labels, 1)].into());
}

#[tokio::test]
async fn row_25_nothing_to_push() {
    let bench = Bench::loki(|_| ()).await;
    bench.expect(vec![], "422 error at least one valid stream is required for ingestion").await;
    bench.expect(vec![stream("{a=\"b\"}", vec![])], "204").await;
    bench.expect(vec![stream("{a.b=\"c\"}", vec![])], "400 couldn't parse labels: 1:3: …").await;
}

#[tokio::test]
async fn row_26_tenants() {
    let bench = Bench::loki(|options| options.auth = true).await;
    let body = PushRequest { streams: vec![stream("{a=\"b\"}", vec![entry(0, "x")])] };
    let long = "t".repeat(151);
    for (tenant, status, text) in [
        ("veogen", 204, ""),
        ("a|a", 204, ""),
        (&long[1..], 204, ""),
        ("", 401, "no org id"),
        (" ", 401, "no org id"),
        ("a|b", 400, "multiple org IDs present"),
        ("a b", 400, "tenant ID 'a b' contains unsupported character ' '"),
        (".", 400, "tenant ID is '.' or '..'"),
        ("..", 400, "tenant ID is '.' or '..'"),
        (&long, 400, "tenant ID is too long: max 150 characters"),
    ] {
        let headers = [("x-scope-orgid", tenant)];
        let answer = bench.post(PUSH, &headers, snap(&body.encode_to_vec())).await;
        assert_eq!(answer, (status, text.to_owned()), "{tenant:?}");
    }
    let entries = bench.receiver.store().entries();
    let tenants: Vec<_> = entries.iter().map(|e| e.tenant.as_deref()).collect();
    assert_eq!(tenants, [Some("veogen"), Some("a"), Some(&long[1..])]);
    let see = async |tenant| {
        let query = [("query", "{a=\"b\"}"), ("end", "1768467601")];
        let headers = [("x-scope-orgid", tenant)];
        let found = bench.get("/loki/api/v1/query_range", &query, &headers).await;
        found["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!((see("a").await, see("b").await), (1, 0));
}

#[tokio::test]
async fn json_that_is_no_push_is_refused_whole() {
    let bench = Bench::new(|_| ()).await;
    let wrap =
        |values: &str| format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":{values}}}]}}"#);
    for (body, status, text) in [
        (wrap(r#"[["1768467600000000000","x",{"m":"v"}]]"#), 204, ""),
        (wrap(r#"[[1768467600000000000,"x"]]"#), 400, "a value's time is not a string"),
        (wrap(r#"[["1.5","x"]]"#), 400, "time \"1.5\" is not in nanoseconds"),
        (wrap(r#"[["1768467600000000000",7]]"#), 400, "a value's line is not a string"),
        (wrap(r#"[["1768467600000000000","x",{"m":7}]]"#), 400, "metadata \"m\" is not a string"),
        (r#"{"streams":7}"#.to_owned(), 400, "streams is not a list"),
        ("{}".to_owned(), 422, "error at least one valid stream is required for ingestion"),
    ] {
        let headers = [("content-type", "application/json")];
        let answer = bench.post(PUSH, &headers, body.clone().into_bytes()).await;
        assert_eq!(answer, (status, text.to_owned()), "{body}");
    }
    assert_eq!(bench.receiver.store().entries()[0].metadata, [("m".to_owned(), "v".to_owned())]);
}

/// Rust's strings cannot hold what Loki's messages can.
#[tokio::test]
async fn invalid_utf8_is_loki_s_business() {
    let bench = Bench::loki(|_| ()).await;
    let request = |labels: &[u8], line: &[u8], metadata: &[(&[u8], &[u8])]| {
        let field = |number: u8, bytes: &[u8]| {
            [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
        };
        let time = field(1, &entry(0, "").timestamp.unwrap().encode_to_vec());
        let pairs: Vec<u8> = metadata
            .iter()
            .flat_map(|(name, value)| field(3, &[field(1, name), field(2, value)].concat()))
            .collect();
        let entry = field(2, &[time, field(2, line), pairs].concat());
        snap(&field(1, &[field(1, labels), entry].concat()))
    };
    let (status, text) = bench.post(PUSH, &[], request(b"{a=\"x\xff\"}", b"x", &[])).await;
    let expected = "couldn't parse labels: 1:4: parse error: invalid UTF-8 rune";
    assert_eq!((status, text.as_str()), (400, expected));
    let metadata: [(&[u8], &[u8]); 2] = [(b"a\xff\xfe", b"x\xff\xfey"), (b"b", b"\xef\xbf\xbd")];
    let answer = bench.post(PUSH, &[], request(b"{}", b"\xff\0", &metadata)).await;
    assert_eq!(answer.0, 204, "{}", answer.1);
    let entry = &bench.receiver.store().entries()[0];
    assert_eq!(entry.line, b"\xff\0");
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(entry.metadata, [pair("a__", "x  y"), pair("b", " ")]);
}
