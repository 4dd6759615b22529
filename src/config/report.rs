//! Mistakes, and how they are shown: as rustc shows them.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, Title};

use super::secret;

/// Longest excerpt; of a longer one only the place is said.
const EXCERPT_BYTES_MAX: usize = 32 * 1024;

/// Most problems that are shown; the rest is counted.
const SHOWN_MAX: usize = 100;

/// Whether the configuration can be used in spite of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can, but is probably not what was meant.
    Warning,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in a fragment that names the thing.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The bytes that are wrong, and a few words that stand beside the caret.
    place: Option<(Range<usize>, String)>,
    /// A second place that belongs to it.
    also: Option<(Range<usize>, String)>,
}

impl Problem {
    pub(super) fn error(message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, message, hint: None, place: None, also: None }
    }

    pub(super) fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    pub(super) fn at(mut self, span: &Range<usize>, label: impl Into<String>) -> Self {
        self.place = Some((span.clone(), label.into()));
        self
    }

    pub(super) fn also(mut self, span: &Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((span.clone(), label.into()));
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// For the order; what has no place comes last.
    fn start(&self) -> usize {
        self.place.as_ref().map_or(usize::MAX, |(span, _)| span.start)
    }
}

/// All that is wrong with one file, or with the flags of one command line.
#[derive(Debug, Clone)]
pub struct Report {
    /// The file's name as the user wrote it.
    name: String,
    /// The file's text without its secrets. The places in `problems` are places in it.
    text: String,
    /// In the order of the file.
    problems: Vec<Problem>,
}

impl Report {
    /// `secrets` are ranges of `text` that are not to be shown.
    pub(super) fn new(
        name: &str,
        text: &str,
        secrets: Vec<Range<usize>>,
        mut problems: Vec<Problem>,
    ) -> Self {
        let masked = secret::Masked::new(text, secrets);
        for problem in &mut problems {
            let places = problem.place.iter_mut().chain(problem.also.iter_mut());
            for (span, _) in places {
                *span = first_line(text, span);
                *span = masked.span(span);
            }
        }
        problems.sort_by_key(Problem::start);
        Self { name: name.to_owned(), text: masked.text, problems }
    }

    /// The problems in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// How many problems are warnings.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.problems.len() - self.errors()
    }

    /// All problems with line, column, caret and hint, and a line that counts them; nothing if
    /// there are none. Holds no secret. `colour` adds ANSI escapes.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        if self.problems.is_empty() {
            return String::new();
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut rendered = String::new();
        for problem in self.problems.iter().take(SHOWN_MAX) {
            rendered.push_str(&renderer.render(&self.groups(problem)));
            rendered.push_str("\n\n");
        }
        let more = self.problems.len().saturating_sub(SHOWN_MAX);
        let more = if more == 0 { String::new() } else { format!(", {more} of them not shown") };
        let summary = match (self.errors(), self.warnings()) {
            (0, n) => Level::WARNING.primary_title(self.summary(&[count(n, "warning")], &more)),
            (n, 0) => Level::ERROR.primary_title(self.summary(&[count(n, "mistake")], &more)),
            (n, m) => {
                let counts = [count(n, "mistake"), count(m, "warning")];
                Level::ERROR.primary_title(self.summary(&counts, &more))
            }
        };
        rendered.push_str(&renderer.render(&[Group::with_title(summary)]));
        rendered.push('\n');
        rendered
    }

    fn summary(&self, counts: &[String], more: &str) -> String {
        format!("{} in {}{more}", counts.join(" and "), self.name)
    }

    fn groups<'a>(&'a self, problem: &'a Problem) -> Vec<Group<'a>> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(&*problem.message);
        let mut groups = vec![match &problem.place {
            None => title.element(Origin::path(&*self.name)),
            Some(place) => self.excerpt(title, place, problem.also.as_ref()),
        }];
        if let Some(hint) = &problem.hint {
            let title = Level::HELP.with_name("hint").secondary_title(&**hint);
            groups.push(Group::with_title(title));
        }
        groups
    }

    /// The lines of the places only: the renderer looks at all that it is given.
    fn excerpt<'a>(
        &'a self,
        title: Title<'a>,
        place: &'a (Range<usize>, String),
        also: Option<&'a (Range<usize>, String)>,
    ) -> Group<'a> {
        let (span, label) = place;
        let first = also.map_or(span.start, |also| also.0.start.min(span.start));
        let last = also.map_or(span.end, |also| also.0.end.max(span.end));
        let start = self.text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[last..].find('\n').map_or(self.text.len(), |len| last + len);
        let end = if self.text[last..end].ends_with('\r') { end - 1 } else { end };
        let line = self.text[..start].matches('\n').count() + 1;
        if EXCERPT_BYTES_MAX < end - start {
            if also.is_some() {
                return self.excerpt(title, place, None);
            }
            let column = self.text[start..span.start].chars().count() + 1;
            return title.element(Origin::path(&*self.name).line(line).char_column(column));
        }
        let shift = |span: &Range<usize>| span.start - start..span.end - start;
        let mut snippet = Snippet::source(&self.text[start..end])
            .path(&*self.name)
            .line_start(line)
            .annotation(AnnotationKind::Primary.span(shift(span)).label(&**label));
        if let Some((span, label)) = also {
            snippet = snippet.annotation(AnnotationKind::Context.span(shift(span)).label(&**label));
        }
        title.element(snippet)
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// The part of a span that is on its first line, so that a caret never covers a whole section.
fn first_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let bytes = text.get(span.clone()).unwrap_or("");
    let len = bytes.find(['\n', '\r']).unwrap_or(bytes.len());
    span.start..span.start + len
}
