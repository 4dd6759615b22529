//! One file per mistake: `tests/golden/config/*.yaml`, with what is said beside it.

use expect_test::expect_file;

use super::{env, load, root};

#[test]
fn every_mistake_is_shown_with_its_place() {
    let folder = root("tests/golden/config");
    let mut seen = 0;
    for entry in fs_err::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let bytes = fs_err::read(&path).unwrap();
        let loaded = load(&bytes, "skald.yaml", &env);
        let rendered = loaded.report.render(false);
        expect_file![path.with_extension("stderr")].assert_eq(&rendered);
        assert_ne!(rendered, "", "{} has no mistake", path.display());
        assert_eq!(loaded.config.is_none(), loaded.report.errors() != 0, "{}", path.display());
        assert!(!rendered.contains("hunter2"), "{} shows a secret", path.display());
    }
    assert!(40 <= seen, "only {seen} files");
}
