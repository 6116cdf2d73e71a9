//! What a check has to say.

use serde::Serialize;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is the case.
    pub what: String,
    /// What that leads to, or where it comes from.
    pub why: String,
    /// What to do.
    pub mend: String,
    pub severity: Severity,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something does not work, or is open to others.
    Wrong,
    /// Worth knowing; all works.
    Note,
}

/// What came of a check. Empty: it had nothing to look at.
#[derive(Debug, Default)]
pub struct Looked {
    /// What was looked at.
    pub seen: Vec<String>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    pub findings: Vec<Finding>,
}

impl Looked {
    pub fn seen(what: impl Into<String>) -> Self {
        Self { seen: vec![what.into()], ..Self::default() }
    }

    pub fn unseen(why: impl Into<String>) -> Self {
        Self { unseen: vec![why.into()], ..Self::default() }
    }

    pub fn wrong(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::default().and_wrong(what, why, mend)
    }

    pub fn note(what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::default().and(Severity::Note, what, why, mend)
    }

    #[must_use]
    pub fn and_wrong(self, what: impl Into<String>, why: impl Into<String>, mend: impl Into<String>) -> Self {
        self.and(Severity::Wrong, what, why, mend)
    }

    #[must_use]
    pub fn and(
        mut self,
        severity: Severity,
        what: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let (what, why, mend) = (what.into(), why.into(), mend.into());
        self.findings.push(Finding { what, why, mend, severity });
        self
    }

    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.seen.extend(other.seen);
        self.unseen.extend(other.unseen);
        self.findings.extend(other.findings);
        self
    }
}
