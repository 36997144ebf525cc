//! The two text forms of metrics: OpenMetrics for those who ask for it, Prometheus' own form for all others. They differ in how they name
//! a counter's family, in the type `info`, and in the mark of the end.

use std::{borrow::Cow, collections::HashMap};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The content type and the text that a client takes, of a text in OpenMetrics' form.
pub(super) fn form(accept: &str, open_metrics: String) -> (&'static str, String) {
    if accept.contains("application/openmetrics-text") {
        (OPEN_METRICS, open_metrics)
    } else {
        (PROMETHEUS, prometheus(&open_metrics))
    }
}

fn prometheus(open_metrics: &str) -> String {
    // A family's help comes before its type.
    let kinds: HashMap<&str, &str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let suffix = |name: &str| match kinds.get(name) {
        Some(&"counter") => "_total",
        Some(&"info") => "_info",
        _ => "",
    };
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let line: Cow<'_, str> = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF"), None, None) => continue,
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) => {
                let rest = if (what, rest) == ("TYPE", "info") {
                    "gauge"
                } else {
                    rest
                };
                format!("# {what} {name}{} {rest}", suffix(name)).into()
            }
            _ => line.into(),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_ask_for_open_metrics_gets_the_older_form() {
        let given = "# HELP a Calls.\n# TYPE a counter\na_total{x=\"# EOF\"} 1\n# HELP b Build.\n# TYPE b info\nb_info{v=\"1\"} 1\n# HELP c Size.\n\
                     # TYPE c gauge\nc 2\n# EOF\n";
        let (content_type, text) = form("text/html, */*", given.to_owned());
        assert_eq!(content_type, PROMETHEUS);
        assert_eq!(
            text,
            "# HELP a_total Calls.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 1\n# HELP b_info Build.\n# TYPE b_info gauge\n\
             b_info{v=\"1\"} 1\n# HELP c Size.\n# TYPE c gauge\nc 2\n"
        );
        let asked = form(
            "application/openmetrics-text; version=1.0.0",
            given.to_owned(),
        );
        assert_eq!(asked, (OPEN_METRICS, given.to_owned()));
    }
}
