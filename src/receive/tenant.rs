//! `X-Scope-OrgID`, as dskit's `tenant.go` reads it.

use axum::http::{HeaderMap, StatusCode};

use super::http::Refusal;

const TENANT_BYTES_MAX: usize = 150;

/// The tenant of a request. Without `auth` it is only noted, whatever it holds.
pub(super) fn tenant(headers: &HeaderMap, auth: bool) -> Result<Option<String>, Refusal> {
    let value = headers.get("x-scope-orgid").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let value = value.as_deref().unwrap_or_default().trim();
    if !auth {
        return Ok((!value.is_empty()).then(|| value.to_owned()));
    }
    if value.is_empty() {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "no org id"));
    }
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

fn check(id: &str) -> Result<(), String> {
    let bad = |c: &char| !(c.is_ascii_alphanumeric() || "!-_.*'()".contains(*c));
    if let Some(c) = id.chars().find(bad) {
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
