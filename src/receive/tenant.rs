//! `X-Scope-OrgID`, as dskit's `tenant.go` reads it.

use axum::http::{HeaderMap, StatusCode};

use super::http::Refusal;

const TENANT_BYTES_MAX: usize = 150;

/// The tenant that a request names, whether it is one or not.
pub(super) fn noted(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("x-scope-orgid")?.as_bytes();
    let value = String::from_utf8_lossy(value).trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// The tenant of a request. Without `auth` it is only noted, whatever it holds.
pub(super) fn tenant(headers: &HeaderMap, auth: bool) -> Result<Option<String>, Refusal> {
    let noted = noted(headers);
    if !auth {
        return Ok(noted);
    }
    let Some(value) = noted else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "no org id"));
    };
    let mut ids = value.split('|');
    let id = ids.next().unwrap_or_default();
    check(id).map_err(Refusal::bad_request)?;
    for other in ids {
        check(other).map_err(Refusal::bad_request)?;
        if other != id {
            return Err(Refusal::bad_request("multiple org IDs present"));
        }
    }
    Ok(Some(id.to_owned()))
}

/// Whose limits and streams count: without `auth` all requests are of one user.
pub(super) fn user(tenant: Option<&str>, auth: bool) -> &str {
    tenant.filter(|_| auth).unwrap_or("fake")
}

fn check(id: &str) -> Result<(), String> {
    // Byte by byte, like dskit.
    let bad = |c: &char| !(c.is_ascii_alphanumeric() || "!-_.*'()".contains(*c));
    if let Some(c) = id.bytes().map(char::from).find(bad) {
        return Err(format!("tenant ID '{id}' contains unsupported character '{c}'"));
    }
    if id.len() > TENANT_BYTES_MAX {
        return Err(format!("tenant ID is too long: max {TENANT_BYTES_MAX} characters"));
    }
    if id == "." || id == ".." {
        return Err("tenant ID is '.' or '..'".to_owned());
    }
    Ok(())
}
