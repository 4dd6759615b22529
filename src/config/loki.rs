//! The section `loki`: where Loki is and how it is spoken to.

use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;

use super::names::{headers, tenant};
use super::options::Config;
use super::raw::Node;
use super::report::Problem;
use super::section::Section;
use super::values::{choice, duration, file, flag, string, text, url, wrong};
use crate::push::{Auth, Proxy, Secret, StructuredMetadata};

type Problems = Vec<Problem>;

/// Loki's push endpoint.
const PUSH_PATH: &str = "/loki/api/v1/push";

/// Loki itself may take 5 s for a push and gives up after 30.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

pub(super) fn read(problems: &mut Problems, top: &Section<'_>, config: &mut Config) {
    let example = "`loki: {url: http://loki:3100}`";
    let Some(node) = top.get("loki") else {
        problems.push(Problem::error("`loki.url` is missing").hint(format!("write {example}")));
        return;
    };
    let head = top.head("loki");
    let Some(loki) = Section::open(problems, "loki", head, node) else { return };
    if loki.get("url").is_none() {
        let problem = Problem::error("`loki.url` is missing").at(head, "no `url` in here");
        problems.push(problem.hint(format!("write {example}")));
    }
    let push = &mut config.push;
    loki.read(problems, "url", &mut push.url, push_url);
    loki.read(problems, "tenant", &mut push.tenant, |problems, node| {
        tenant(problems, node).map(Some)
    });
    loki.read(problems, "headers", &mut push.headers, headers);
    loki.read(problems, "proxy", &mut push.proxy, proxy);
    loki.read(problems, "timeout", &mut push.timeout, |problems, node| {
        duration(problems, node, &TIMEOUT)
    });
    let slot = &mut push.structured_metadata;
    loki.read(problems, "structured_metadata", slot, structured_metadata);
    loki.read(problems, "one_stream_per_push", &mut config.push.one_stream_per_push, flag);
    auth(problems, &loki, config);
    tls(problems, &loki, config);
}

fn push_url(problems: &mut Problems, node: &Node) -> Option<String> {
    let mut url = url(problems, node)?;
    if !url.username().is_empty() || url.password().is_some() {
        let message = "credentials in a URL".into();
        let hint = "use `basic_auth: {username: …, password_file: …}`: it is never shown";
        return wrong(problems, node, message, "a name or password before the `@`", hint);
    }
    if url.query().is_some() || url.fragment().is_some() {
        let message = "a push URL with `?` or `#`".into();
        return wrong(problems, node, message, "Loki takes no parameters", "end it at the path");
    }
    if url.path().contains("//") {
        let message = "a path with `//`".into();
        return wrong(problems, node, message, "Loki answers with a redirect", "write one `/`");
    }
    if url.path() == "/" {
        url.set_path(PUSH_PATH);
    } else if !url.path().ends_with("/push") {
        let hint = format!("nothing is added to a path; does it end in `{PUSH_PATH}`?");
        problems.push(
            Problem::warning("a push URL whose path does not end in `/push`")
                .at(&node.span, "used as it is")
                .hint(hint),
        );
    }
    Some(url.into())
}

fn proxy(problems: &mut Problems, node: &Node) -> Option<Proxy> {
    match &*text(problems, node)?.text {
        "env" => Some(Proxy::Env),
        "none" => Some(Proxy::None),
        other if other.contains("://") => url(problems, node).map(|url| Proxy::Url(url.into())),
        _ => {
            let hint = "`env` takes HTTP_PROXY, HTTPS_PROXY and NO_PROXY; `none` takes none";
            wrong(problems, node, "not a proxy".into(), "not `env`, `none` or a URL", hint)
        }
    }
}

fn structured_metadata(problems: &mut Problems, node: &Node) -> Option<StructuredMetadata> {
    use StructuredMetadata::{Auto, Off, On};
    choice(problems, node, &[("auto", Auto), ("on", On), ("off", Off)])
}

fn auth(problems: &mut Problems, loki: &Section<'_>, config: &mut Config) {
    let basic = loki.section(problems, "basic_auth", "loki.basic_auth");
    if let Some(basic) = basic {
        let username = basic.get("username").and_then(|node| username(problems, node));
        if basic.get("username").is_none() {
            let problem = Problem::error("`basic_auth` without `username`");
            problems.push(problem.at(loki.head("basic_auth"), "no `username` in here"));
        }
        let password = secret(problems, &basic, "password", "password_file");
        if basic.get("password").is_none() && basic.get("password_file").is_none() {
            let problem = Problem::error("`basic_auth` without a password");
            let problem = problem.at(loki.head("basic_auth"), "no `password_file` in here");
            problems.push(problem.hint("write `password_file: /run/secrets/loki`"));
        }
        if let (Some(username), Some(password)) = (username, password) {
            config.push.auth = Auth::Basic { username, password };
        }
    }
    let bearer = secret(problems, loki, "bearer_token", "bearer_token_file");
    if let Some(token) = bearer {
        if basic.is_some() {
            let key = ["bearer_token", "bearer_token_file"]
                .into_iter()
                .find(|key| loki.get(key).is_some())
                .expect("BUG: a token from nowhere");
            problems.push(
                Problem::error("both `basic_auth` and a bearer token")
                    .at(loki.head(key), "one too many")
                    .also(loki.head("basic_auth"), "the other one")
                    .hint("there is one header `Authorization`: keep one of them"),
            );
        }
        config.push.auth = Auth::Bearer(token);
    }
}

fn username(problems: &mut Problems, node: &Node) -> Option<String> {
    let name = string(problems, node)?;
    if name.contains(':') || name.chars().any(char::is_control) {
        let message = "a user name that HTTP cannot carry".into();
        return wrong(problems, node, message, "holds `:` or a control character", "RFC 7617");
    }
    Some(name)
}

/// A secret that is given under one key, or in a file under another.
fn secret(
    problems: &mut Problems,
    section: &Section<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Option<Secret> {
    match (section.get(key), section.get(file_key)) {
        (None, None) => None,
        (Some(node), None) => {
            let secret = string(problems, node)?;
            if secret.chars().any(char::is_control) {
                let message = format!("`{key}` with a line end or control character in it");
                return wrong(problems, node, message, "not one line", "write it on one line");
            }
            Some(Secret::Value(SecretString::from(secret)))
        }
        (None, Some(node)) => file(problems, node).map(Secret::File),
        (Some(_), Some(_)) => {
            problems.push(
                Problem::error(format!("both `{key}` and `{file_key}`"))
                    .at(section.head(file_key), "one too many")
                    .also(section.head(key), "the other one"),
            );
            None
        }
    }
}

fn tls(problems: &mut Problems, loki: &Section<'_>, config: &mut Config) {
    let Some(section) = loki.section(problems, "tls", "loki.tls") else { return };
    let tls = &mut config.push.tls;
    let some_file = |problems: &mut Problems, node: &Node| file(problems, node).map(Some);
    section.read(problems, "ca_file", &mut tls.ca_file, some_file);
    section.read(problems, "cert_file", &mut tls.cert_file, some_file);
    section.read(problems, "key_file", &mut tls.key_file, some_file);
    section.read(problems, "server_name", &mut tls.server_name, |problems, node| {
        string(problems, node).map(Some)
    });
    section.read(problems, "insecure_skip_verify", &mut tls.insecure_skip_verify, flag);
    for (one, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if section.get(one).is_some() && section.get(other).is_none() {
            problems.push(
                Problem::error(format!("`{one}` without `{other}`"))
                    .at(section.head(one), "one half of a client certificate")
                    .hint(format!("add `{other}`")),
            );
        }
    }
    let is_default = !tls.insecure_skip_verify
        && [&tls.ca_file, &tls.cert_file, &tls.key_file].iter().all(|file| file.is_none())
        && tls.server_name.is_none();
    if config.push.url.starts_with("http:") && !is_default {
        let problem = Problem::warning("`tls` with a URL that is not https");
        problems.push(problem.at(loki.head("tls"), "not used"));
    }
}
