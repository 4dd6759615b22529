//! `src/wire/push.rs` is what prost makes of `proto/push.proto`. Run with `UPDATE_EXPECT=1` to
//! write it anew.

use std::path::Path;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(["push.proto"], [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).unwrap();
    let code = fs_err::read_to_string(out.path().join("logproto.rs")).unwrap();
    let head = "// Generated from proto/push.proto by `cargo test --test proto`. Do not edit.\n";
    expect_test::expect_file!["../src/wire/push.rs"].assert_eq(&(head.to_owned() + &code));
}
