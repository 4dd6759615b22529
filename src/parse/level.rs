//! The many spellings of severity, to the few that Loki and Grafana know.

use super::rule::{Level, Numbers};

/// Longest word that can be a level.
const WORD_BYTES_MAX: usize = 16;

/// The level that `text` says. Brackets and punctuation around it do not matter, nor does case.
pub(super) fn level(text: &str, numbers: Numbers) -> Option<Level> {
    let (whole, text) = (text, text.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    if text.is_empty() || WORD_BYTES_MAX < text.len() {
        return None;
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Go's slog and zap go below 0: none of these schemes does.
        if whole.trim_start().starts_with('-') {
            return None;
        }
        return number(text.parse().ok()?, numbers);
    }
    let mut lower = [0; WORD_BYTES_MAX];
    let lower = &mut lower[..text.len()];
    lower.copy_from_slice(text.as_bytes());
    lower.make_ascii_lowercase();
    word(std::str::from_utf8(lower).ok()?)
}

fn word(lower: &str) -> Option<Level> {
    Some(match lower {
        "trace" | "trc" | "t" | "verbose" | "vrb" | "v" | "finest" | "finer" | "silly" => {
            Level::Trace
        }
        "debug" | "dbg" | "dbug" | "debu" | "d" | "fine" => Level::Debug,
        "info" | "inf" | "i" | "information" | "informational" | "notice" | "note" | "n"
        | "http" | "success" | "log" => Level::Info,
        "warn" | "wrn" | "w" | "warning" => Level::Warn,
        "error" | "err" | "erro" | "eror" | "e" | "severe" | "failure" => Level::Error,
        "critical" | "crit" | "crt" | "c" | "alert" => Level::Critical,
        "fatal" | "ftl" | "f" | "emerg" | "emergency" | "panic" | "dpanic" => Level::Fatal,
        // glog and klog: a letter and the date, `I0522`.
        _ => match lower.as_bytes() {
            [b'i' | b'w' | b'e' | b'f', month_and_day @ ..]
                if month_and_day.len() == 4 && month_and_day.iter().all(u8::is_ascii_digit) =>
            {
                return word(&lower[..1]);
            }
            _ => return None,
        },
    })
}

fn number(number: u32, numbers: Numbers) -> Option<Level> {
    let syslog = || {
        Some(match number {
            0 => Level::Fatal,
            1 | 2 => Level::Critical,
            3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            7 => Level::Debug,
            _ => return None,
        })
    };
    // pino's and bunyan's; levels between two are of the lower one.
    let pino = || {
        Some(match number {
            10..20 => Level::Trace,
            20..30 => Level::Debug,
            30..40 => Level::Info,
            40..50 => Level::Warn,
            50..60 => Level::Error,
            60..100 => Level::Fatal,
            _ => return None,
        })
    };
    match numbers {
        Numbers::Auto => syslog().or_else(pino),
        Numbers::Syslog => syslog(),
        Numbers::Pino => pino(),
        Numbers::Python => Some(match number {
            1..10 => Level::Trace,
            10..20 => Level::Debug,
            20..30 => Level::Info,
            30..40 => Level::Warn,
            40..50 => Level::Error,
            50..100 => Level::Critical,
            _ => return None,
        }),
        Numbers::Otel => Some(match number {
            1..=4 => Level::Trace,
            5..=8 => Level::Debug,
            9..=12 => Level::Info,
            13..=16 => Level::Warn,
            17..=20 => Level::Error,
            21..=24 => Level::Fatal,
            _ => return None,
        }),
    }
}

impl Level {
    /// All, the least first.
    pub const ALL: [Self; 7] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Critical,
        Self::Fatal,
    ];

    /// As Loki and Grafana write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Fatal => "fatal",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(numbers: Numbers, texts: &str, expected: &str) {
        let seen: Vec<&str> =
            texts.split(' ').map(|text| level(text, numbers).map_or("-", Level::name)).collect();
        assert_eq!(seen.join(" "), expected, "{texts}");
    }

    #[test]
    fn words_in_any_spelling() {
        check(Numbers::Auto, "INFO Information NOTICE inf I", "info info info info info");
        check(Numbers::Auto, "warn WARNING Wrn W [WARN] <warn>", "warn warn warn warn warn warn");
        check(Numbers::Auto, "E err ERROR: eror SEVERE", "error error error error error");
        check(Numbers::Auto, "crit ALERT emerg panic F0522", "critical critical fatal fatal fatal");
        check(Numbers::Auto, "I0522 w1231 trace VERBOSE dbg", "info warn trace trace debug");
        check(Numbers::Auto, "informed I05 X0522 é 99999999999999999999 ---", "- - - - - -");
    }

    #[test]
    fn numbers_by_their_scheme() {
        check(
            Numbers::Auto,
            "0 2 3 4 6 7 8 10 30 35 50 60",
            "fatal critical error warn info debug - trace info info error fatal",
        );
        check(Numbers::Auto, "-4 -1 <4> [3]", "- - warn error");
        check(Numbers::Syslog, "3 30", "error -");
        check(Numbers::Pino, "3 20 50 60", "- debug error fatal");
        check(Numbers::Python, "10 20 30 40 50", "debug info warn error critical");
        check(Numbers::Otel, "1 9 13 17 21 25", "trace info warn error fatal -");
    }

    proptest! {
        /// What a level is called says that level again.
        #[test]
        fn names_are_read(text in ".{0,20}") {
            if let Some(found) = level(&text, Numbers::Auto) {
                prop_assert_eq!(level(found.name(), Numbers::Auto), Some(found));
            }
        }
    }
}
