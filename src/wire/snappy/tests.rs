use proptest::prelude::*;

use super::*;

fn decoded(block: &[u8]) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(block).unwrap()
}

/// Compresses a piece, looks at what holds for every piece, and gives the length of its elements.
fn check(compressor: &mut Compressor, input: &[u8]) -> usize {
    let mut block = Vec::new();
    Compressor::append_len(input.len(), &mut block);
    let preamble = block.len();
    compressor.append(input, &mut block);
    assert!(decoded(&block) == input, "b\"{}\"", input.escape_ascii());
    let len = block.len() - preamble;
    assert!(len <= input.len() + input.len() / 64 + 3, "{len} of {}", input.len());
    len
}

/// A part of an input: new bytes, or earlier ones once more, overlapping or not.
#[derive(Debug, Clone)]
enum Part {
    New(Vec<u8>),
    Again { back: usize, len: usize },
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..70).prop_map(Part::New),
        prop::collection::vec(prop::sample::select(&b"a0 \""[..]), 0..70).prop_map(Part::New),
        "[0-9a-f]{8}-[0-9a-f]{4}|[a-z]{1,8} |\"[a-z]{1,5}\": "
            .prop_map(|text| Part::New(text.into())),
        (1_usize..40, 1_usize..300).prop_map(|(back, len)| Part::Again { back, len }),
        (1_usize..70_000, 1_usize..100).prop_map(|(back, len)| Part::Again { back, len }),
        (1_usize..700, 1_usize..3_000).prop_map(|(back, len)| Part::Again { back, len }),
    ]
}

fn input(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::New(new) => bytes.extend_from_slice(new),
            Part::Again { back, len } => {
                let from = bytes.len().saturating_sub(*back);
                for at in from..if from == bytes.len() { from } else { from + len } {
                    bytes.push(bytes[at]);
                }
            }
        }
    }
    bytes.truncate(PIECE_BYTES_MAX);
    bytes
}

proptest! {
    #[test]
    fn pieces_decode_to_what_they_were_and_hardly_grow(
        parts in prop::collection::vec(part(), 0..200),
        before in prop::collection::vec(part(), 0..20),
    ) {
        let mut compressor = Compressor::default();
        check(&mut compressor, &input(&before));
        let (piece, mut alone) = (input(&parts), Compressor::default());
        prop_assert_eq!(check(&mut compressor, &piece), check(&mut alone, &piece));
    }
}

#[test]
fn copies_of_all_lengths_and_distances_are_written_as_snappy_has_them() {
    let bytes: Vec<u8> =
        (0_u32..60_000).map(|i| i.wrapping_mul(0x9e37_79b1).to_be_bytes()[0]).collect();
    for offset in [1, 2, 63, 2046, 2047, 2048, 2049, 4095, 60_000] {
        for len in (4..140).chain([1_000]) {
            let mut space = Box::new([0; elements::SPACE_BYTES]);
            let mut elements = elements::Elements::new(&mut space);
            elements.any_literal(&bytes[..offset as usize]);
            elements.copy(offset, len);
            let mut block = Vec::new();
            Compressor::append_len((offset + len) as usize, &mut block);
            block.extend_from_slice(elements.into_bytes());
            let again = bytes[..offset as usize].iter().cycle();
            assert!(
                decoded(&block).iter().eq(again.take((offset + len) as usize)),
                "{offset} {len}"
            );
        }
    }
}

#[test]
fn ends_of_all_kinds_come_back() {
    let mut compressor = Compressor::default();
    let entry = b"{\"time\": \"09:00\", \"id\": \"30d5a463-31ec-4e30\"}\x1a\x12";
    for unit in [&b"a"[..], b"ab", b"abcdefg", entry] {
        let bytes: Vec<u8> = unit.iter().copied().cycle().take(PIECE_BYTES_MAX).collect();
        for len in (0..400).chain(PIECE_BYTES_MAX - 3..=PIECE_BYTES_MAX) {
            check(&mut compressor, &bytes[..len]);
            // A match that ends just before the end, and a literal that does.
            let mut other = bytes[..len].to_vec();
            for at in [1, 2, 17, 33, 61, 65] {
                if let Some(at) = len.checked_sub(at) {
                    other[at] ^= 0x80;
                    check(&mut compressor, &other);
                }
            }
        }
    }
}

#[test]
fn what_repeats_is_small_and_what_does_not_is_left_as_it_is() {
    let mut compressor = Compressor::default();
    let same = vec![b'x'; PIECE_BYTES_MAX];
    assert_eq!(check(&mut compressor, &same), 2 + PIECE_BYTES_MAX.div_ceil(64) * 3);
    let mut rng = fastrand::Rng::with_seed(1);
    let random: Vec<u8> = (0..PIECE_BYTES_MAX).map(|_| rng.u8(..)).collect();
    assert_eq!(check(&mut compressor, &random), PIECE_BYTES_MAX + 3);
}

/// Not worse than the library by more than 5 % where it matters.
#[test]
fn the_log_that_ships_becomes_as_small_as_the_library_makes_it() {
    let log = fs_err::read(concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/veogen.log")).unwrap();
    let mut compressor = Compressor::default();
    let own: usize = log.chunks(PIECE_BYTES_MAX).map(|piece| check(&mut compressor, piece)).sum();
    let library = snap::raw::Encoder::new().compress_vec(&log).unwrap().len();
    assert!(own * 100 <= library * 105, "{own} for {library}");
}

#[test]
fn blocks_come_back_whole() {
    let mut compressor = Compressor::default();
    for size in [0, 1, 70_000, 3] {
        let request: Vec<u8> = (0..=250).cycle().take(size).collect();
        assert_eq!(decoded(&compressor.compress(&request)), request);
    }
}

#[test]
fn a_block_can_be_made_of_pieces_and_literals() {
    let mut compressor = Compressor::default();
    let bytes: Vec<u8> = (0..=250).cycle().take(4 * PIECE_BYTES_MAX).collect();
    for literal in [0, 1, 60, 61, 256, 257, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1] {
        for piece in [0, 1, 1000, PIECE_BYTES_MAX] {
            let request = &bytes[..literal + 2 * piece];
            let (header, rest) = request.split_at(literal);
            let mut block = Vec::new();
            Compressor::append_len(request.len(), &mut block);
            Compressor::append_literal(header, &mut block);
            compressor.append(&rest[..piece], &mut block);
            compressor.append(&rest[piece..], &mut block);
            assert_eq!(decoded(&block), request, "{literal} {piece}");
        }
    }
}
