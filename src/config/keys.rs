//! Every key there is, and what people write instead.

/// The keys of one kind of section.
pub(super) struct Known {
    /// What the code calls the section: its path from the top of the file, or the kind of item.
    pub(super) section: &'static str,
    /// What messages call it.
    pub(super) title: &'static str,
    pub(super) keys: &'static [&'static str],
}

/// All sections. `config/skald.yaml` names every key of it; a test sees to that.
#[rustfmt::skip]
pub(super) const KNOWN: &[Known] = &[
    known("", "this file", &["loki", "state_dir", "memory", "batch", "retry", "rate_limit",
        "limits", "guard", "deleted", "dead_letters", "labels", "admin", "shutdown", "sources"]),
    known("loki", "`loki`", &["url", "tenant", "basic_auth", "bearer_token", "bearer_token_file",
        "tls", "headers", "proxy", "timeout", "structured_metadata", "one_stream_per_push"]),
    known("loki.basic_auth", "`basic_auth`", &["username", "password", "password_file"]),
    known("loki.tls", "`tls`", &["ca_file", "cert_file", "key_file", "server_name",
        "insecure_skip_verify"]),
    known("memory", "`memory`", &["in_flight", "streams"]),
    known("batch", "`batch`", &["bytes_max", "age_max"]),
    known("retry", "`retry`", &["delay_min", "delay_max"]),
    known("rate_limit", "`rate_limit`", &["bytes_per_second"]),
    known("limits", "`limits`", &["line_bytes", "age"]),
    known("guard", "`guard`", &["values_max", "per"]),
    known("deleted", "`deleted`", &["files_max", "bytes_max"]),
    known("dead_letters", "`dead_letters`", &["bytes_max"]),
    known("admin", "`admin`", &["listen"]),
    known("shutdown", "`shutdown`", &["deadline"]),
    known("sources", "a source", &["name", "tenant", "files", "stdin", "kubernetes", "exclude", "start",
        "symlink_roots", "path", "labels", "format", "strip_ansi", "multiline", "rules"]),
    known("kubernetes", "`kubernetes`", &["logs", "include", "exclude", "node", "api"]),
    known("api", "`api`", &["url", "token_file", "ca_file", "wait", "annotations"]),
    known("containers", "a choice of containers", &["namespace", "pod", "container"]),
    known("format", "a format", &["regex"]),
    known("multiline", "`multiline`", &["first", "continuation", "traces", "wait", "lines_max"]),
    known("rules", "a rule", &["label", "metadata", "timestamp", "set", "map", "lowercase", "level", "redact", "regex",
        "replace", "line", "drop", "keep", "sample", "limit", "tenant", "metrics", "when", "then", "else"]),
    known("test", "a test of a field", &["is", "not", "exists", "regex", "contains", "gt", "ge", "lt",
        "le", "at_least"]),
    known("replace", "`replace`", &["pattern", "with"]),
    known("level", "`level`", &["from", "numbers"]),
    known("redact", "`redact`", &["what", "in", "with", "hash_secret"]),
    known("private", "a pattern", &["pattern"]),
    known("sample", "`sample`", &["rate", "by", "always"]),
    known("limit", "`limit`", &["lines_per_second", "burst", "by", "over"]),
    known("tenant", "`tenant`", &["from", "map", "default"]),
    known("metrics", "a metric", &["kind", "value", "by", "buckets", "help", "series_max"]),
    known("field", "a field", &["from", "regex", "map", "default"]),
    known("timestamp", "`timestamp`", &["from", "format", "zone", "missing", "too_old", "future"]),
];

/// The top of a file of `skald test`.
pub(super) const CASES: &str = "test file";

/// The sections of files of `skald test`.
#[rustfmt::skip]
const OF_CASES: &[Known] = &[
    known(CASES, "this file", &["config", "source", "file", "now", "cases"]),
    known("case", "a case", &["name", "input", "expect"]),
    known("expect", "`expect`", &["dropped", "labels", "metadata", "absent", "line", "time",
        "tenant"]),
];

const fn known(section: &'static str, title: &'static str, keys: &'static [&'static str]) -> Known {
    Known { section, title, keys }
}

/// Keys of Promtail, Alloy, Vector and Fluent Bit, with the hint for those who bring them along.
#[rustfmt::skip]
const ELSEWHERE: &[(&str, &str)] = &[
    ("clients", "Promtail's `clients` is `loki: {url: …}` here: one Loki"),
    ("client", "Promtail's `client` is `loki: {url: …}` here"),
    ("scrape_configs", "Promtail's `scrape_configs` is `sources` here: a list of `files: […]`"),
    ("positions", "Promtail's `positions` is `state_dir` here: a folder"),
    ("server", "Promtail's `server` is `admin: {listen: 127.0.0.1:9464}` here"),
    ("http_listen_port", "Promtail's `http_listen_port` is `admin.listen` here: address and port"),
    ("http_listen_address", "Promtail's `http_listen_address` is `admin.listen` here"),
    ("limits_config", "Promtail's `limits_config` is `rate_limit`, `limits` and `guard` here"),
    ("target_config", "not needed here: files are looked for at once"),
    ("static_configs", "Promtail's `static_configs` is `files` and `labels` of a source here"),
    ("__path__", "Promtail's `__path__` is `files` of a source here"),
    ("__path_exclude__", "Promtail's `__path_exclude__` is `exclude` of a source here"),
    ("targets", "not needed here: a source has `files` or `stdin: true`"),
    ("job_name", "Promtail's `job_name` is `name` here"),
    ("pipeline_stages", "Promtail's `pipeline_stages` is `format` and `rules` of a source here"),
    ("relabel_configs", "there is no relabelling here: use `labels` and `rules` of a source"),
    ("kubernetes_sd_configs", "Promtail's `kubernetes_sd_configs` is `kubernetes: {}` of a source here"),
    ("external_labels", "Promtail's `external_labels` is `labels` at the top of the file here"),
    ("batchwait", "Promtail's `batchwait` is `batch.age_max` here"),
    ("batchsize", "Promtail's `batchsize` is `batch.bytes_max` here"),
    ("backoff_config", "Promtail's `backoff_config` is `retry` at the top of the file here"),
    ("min_period", "Promtail's `min_period` is `retry.delay_min` here"),
    ("max_period", "Promtail's `max_period` is `retry.delay_max` here"),
    ("max_retries", "not needed here: tries never end, so that nothing is lost"),
    ("tenant_id", "Promtail's `tenant_id` is `loki.tenant` here, or `tenant` of a source"),
    ("tls_config", "Promtail's `tls_config` is `loki.tls` here"),
    ("proxy_url", "Promtail's `proxy_url` is `loki.proxy` here"),
    ("max_line_size", "Promtail's `max_line_size` is `limits.line_bytes` here"),
    ("structured_metadata", "Promtail's stage `structured_metadata` is the rule `metadata` here"),
    ("json", "no stage is needed for JSON: name the fields in `label` and `metadata`"),
    ("cri", "write `format: cri` in the source"),
    ("docker", "write `format: docker` in the source"),
    ("firstline", "Promtail's `firstline` is `first` here"),
    ("max_wait_time", "Promtail's `max_wait_time` is `wait` here"),
    ("max_lines", "Promtail's `max_lines` is `lines_max` here"),
    ("logfmt", "write `format: logfmt` in the source"),
    ("regex", "of the whole line it is `format: {regex: '…'}`, of a field a rule: `regex: {field: '…'}`"),
    ("match", "Promtail's stage `match` is `when` with `then` here, or `drop`"),
    ("output", "Promtail's stage `output` is `line` here: `line: '{message}'`"),
    ("template", "Promtail's stage `template` is `set` here: `set: {name: '{a} {b}'}`"),
    ("sampling", "Promtail's stage `sampling` is `sample` here"),
    ("decolorize", "Promtail's stage `decolorize` is `strip_ansi: true` of the source here"),
    ("static_labels", "Promtail's stage `static_labels` is `labels` of the source here"),
    ("labeldrop", "not needed here: only labels that rules name are there"),
    ("labelallow", "not needed here: only labels that rules name are there"),
    ("pack", "not here: use `metadata`, which Loki keeps beside the line"),
    ("geoip", "not here: IP addresses are looked up where they are queried"),
    ("endpoint", "write `url`: where Loki is"),
    ("host", "write `url`: where Loki is, with scheme and port"),
    ("path", "write `files`: a list of patterns"),
    ("paths", "write `files`: a list of patterns"),
    ("include", "write `files`: a list of patterns"),
    ("read_from", "write `start: beginning` or `start: end`"),
    ("data_dir", "write `state_dir`: a folder"),
];

/// The section of that name.
pub(super) fn section(name: &str) -> &'static Known {
    let mut all = KNOWN.iter().chain(OF_CASES);
    all.find(|known| known.section == name).expect("BUG: a section without keys")
}

/// What to say to someone who wrote `key`, which is not a key of `section`.
pub(super) fn hint(section: &Known, key: &str) -> String {
    if let Some(near) = nearest(key, section.keys) {
        return format!("did you mean `{near}`?");
    }
    let lower = key.to_ascii_lowercase();
    let other = KNOWN.iter().find(|known| known.keys.contains(&&*lower));
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == lower);
    match (other, elsewhere) {
        (Some(other), None) if other.section.is_empty() => {
            format!("`{lower}` belongs at the top of the file, not indented")
        }
        (Some(other), None) => format!("`{lower}` is a key of {}", other.title),
        (_, Some((_, hint))) => (*hint).to_owned(),
        (None, None) => format!("the keys of {}: {}", section.title, section.keys.join(", ")),
    }
}

/// The word that `written` is most likely a slip of.
pub(super) fn nearest<'w>(written: &str, words: &[&'w str]) -> Option<&'w str> {
    let written = written.to_ascii_lowercase().replace('-', "_");
    let distance = |word: &str| strsim::damerau_levenshtein(&written, word);
    let near = words.iter().copied().min_by_key(|word| distance(word))?;
    let slips_max = (near.len() / 3).max(1);
    (distance(near) <= slips_max).then_some(near)
}
