//! Which events and which lines of output.

use clap::Args;
use tradewind_core::{
    event::{Reason, Severity},
    list::OneOf,
    units::{Instant, Millis},
};

/// A moment, or a time back from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since this moment.
    At(Instant),
    /// For so long.
    Ago(Millis),
}

impl std::str::FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let at = text.parse().map(Self::At).ok();
        at.or_else(|| text.parse().map(Self::Ago).ok())
            .ok_or_else(|| {
                format!(
                    "\"{text}\" is neither a time back from now, such as 1h, nor a moment, such as 2026-07-01T12:00:00Z"
                )
            })
    }
}

impl std::fmt::Display for Since {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(at) => at.fmt(f),
            Self::Ago(span) => span.fmt(f),
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct EventKind {
    /// Only events since then: a time back from now such as `1h`, or a moment such as
    /// `2026-07-01T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Only events of this severity, or of one of several: `info`, `warning`, `error`
    #[arg(long = "type", value_name = "SEVERITY", visible_alias = "severity")]
    pub severity: Option<OneOf<Severity>>,
    /// Only events for this reason, or for one of several, such as `RolloutFailed,RolledBack`
    #[arg(long, value_name = "REASON")]
    pub reason: Option<OneOf<Reason>>,
}

impl EventKind {
    /// As the API takes it.
    pub(crate) fn query(&self) -> impl Iterator<Item = (&'static str, String)> {
        let since = self.since.map(|since| ("since", since.to_string()));
        let severity = self.severity.as_ref();
        let severity = severity.map(|severity| ("severity", severity.to_string()));
        let reason = self.reason.as_ref();
        let reason = reason.map(|reason| ("reason", reason.to_string()));
        since.into_iter().chain(severity).chain(reason)
    }
}

#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct LineKind {
    /// Only lines since then: a time back from now such as `10m`, or a moment such as
    /// `2026-07-01T12:00:00Z`. Lines of which the provider keeps no time are all shown
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    pub grep: Option<String>,
    /// Print when each line was written, where the provider keeps it
    #[arg(long)]
    pub timestamps: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_a_span() {
        assert_eq!("10m".parse(), Ok(Since::Ago(Millis::from_secs(600))));
        assert_eq!(
            "1970-01-01T00:00:01Z".parse(),
            Ok(Since::At(Instant(1_000)))
        );
        let told = "soon".parse::<Since>().unwrap_err();
        assert!(told.contains("such as 1h"), "{told}");
        let span: Since = "1h 30m".parse().unwrap();
        assert_eq!(span.to_string().parse(), Ok(span));
    }
}
