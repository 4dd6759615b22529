//! The members of a JSON object, one by one.

use super::Members;
use crate::parse::escape::unescape;
use crate::parse::json::{Member, members};

impl Members {
    /// The name in metadata of a member that is called `name`, if it is one of these: letters that
    /// Loki's names cannot have become `_`.
    fn write_name(&self, name: &str, out: &mut String) -> bool {
        let Some(rest) = name.strip_prefix(&*self.prefix) else { return false };
        if name.is_empty() || !rest.ends_with(&*self.suffix) {
            return false;
        }
        out.push_str(&self.named);
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        if out.is_empty() && !name.starts_with(is_start) {
            out.push('_');
        }
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        out.extend(name.chars().map(allowed));
        // Names that begin so are Loki's own.
        !out.starts_with("__")
    }

    /// Gives name and value of each of these members of `object` that has one. `name` and `value`
    /// are scratch.
    pub(super) fn each(&self, object: &str, mut then: impl FnMut(&str, &str)) {
        let (mut key, mut name, mut value) = (String::new(), String::new(), String::new());
        members(object, |member| {
            key.clear();
            name.clear();
            value.clear();
            if unescape(member.name, &mut key).is_none() || !self.write_name(&key, &mut name) {
                return;
            }
            match text(&member, &mut value) {
                Some(text) if !text.is_empty() => then(&name, text),
                _ => {}
            }
        });
    }
}

/// The text of a member: strings without quotes and escapes, all else as it is written.
pub(super) fn text<'a>(member: &Member<'a>, scratch: &'a mut String) -> Option<&'a str> {
    if !member.is_string {
        return Some(member.value).filter(|value| *value != "null");
    }
    if !member.value.contains('\\') {
        return Some(member.value);
    }
    unescape(member.value, scratch)?;
    Some(scratch)
}
