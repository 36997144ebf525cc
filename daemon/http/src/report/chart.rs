//! Bar charts as inline SVG. Numbers are the charts' own; texts are escaped by the template.

use maud::{Markup, html};

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) label: String,
    /// Its length. What is below zero or no number has none.
    pub(super) value: f64,
    /// What it says.
    pub(super) text: String,
    pub(super) strong: bool,
    /// Drawn hatched rather than filled.
    pub(super) faint: bool,
}

/// All in the drawing's own units.
const WIDTH: f64 = 640.0;
const LABEL: f64 = 220.0;
const VALUE: f64 = 130.0;
const ROW: f64 = 24.0;
/// So many times the median is too long.
const TIMES: f64 = 8.0;
/// The longest label that has room.
const LETTERS: usize = 32;

/// Horizontal bars in the order given, on one scale that begins at zero.
pub(super) fn bars(title: &str, bars: &[Bar]) -> Markup {
    let most = scale(bars.iter().map(|b| b.value));
    let length = |value: f64| {
        if most > 0.0 && value > 0.0 {
            (value / most).min(1.0) * (WIDTH - LABEL - VALUE)
        } else {
            0.0
        }
    };
    let height = ROW * bars.len() as f64 + 4.0;
    html! {
        figure {
            figcaption { (title) }
            svg role="img" aria-label=(title) viewBox={ "0 0 " (WIDTH) " " (height) } preserveAspectRatio="xMinYMin meet" {
                line.axis x1=(LABEL) y1="0" x2=(LABEL) y2=(height) {}
                @for (i, bar) in bars.iter().enumerate() {
                    @let top = ROW * i as f64 + 4.0;
                    @let middle = top + 12.0;
                    @let end = LABEL + length(bar.value);
                    g {
                        title { (bar.label) ": " (bar.text) }
                        text.label x=(LABEL - 8.0) y=(middle) { (cut(&bar.label)) }
                        rect.bar.strong[bar.strong].faint[bar.faint] x=(LABEL) y=(top) width=(format!("{:.1}", end - LABEL)) height="16" rx="2" {}
                        @if bar.value > most && bar.value.is_finite() {
                            @for gap in [22.0, 16.0] { rect.gap x=(format!("{:.1}", end - gap)) y=(top) width="3" height="16" {} }
                        }
                        text.value x=(format!("{:.1}", end + 6.0)) y=(middle) { (bar.text) }
                    }
                }
            }
        }
    }
}

/// What the longest bar stands for. One that is many times the others would leave nothing to be seen of them: it is broken, and drawn to
/// the end.
fn scale(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|v| v.is_finite() && *v > 0.0).collect();
    values.sort_by(f64::total_cmp);
    let most = values.last().copied().unwrap_or(0.0);
    let median = values.get(values.len() / 2).copied().unwrap_or(0.0);
    let usual = median * TIMES;
    if values.len() < 3 || most <= usual {
        return most;
    }
    let longest = values
        .into_iter()
        .filter(|v| *v <= usual)
        .fold(0.0, f64::max);
    longest * 1.5
}

/// The whole text is in the bar's title.
fn cut(label: &str) -> String {
    if label.chars().count() <= LETTERS {
        return label.to_owned();
    }
    label.chars().take(LETTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_bar_leaves_the_others_to_be_seen() {
        for (values, longest) in [
            (vec![], 0.0),
            (vec![1.0, 2.0, 3.0], 3.0),
            (vec![58.0, 73.0, 131.0, 131.0, 9344.0], 196.5),
            (vec![1.0, 9344.0], 9344.0),
            (vec![0.0, f64::NAN, 5.0], 5.0),
        ] {
            assert_eq!(scale(values.iter().copied()), longest, "{values:?}");
        }
        let bar = |value| Bar {
            label: "a".to_owned(),
            value,
            text: String::new(),
            strong: false,
            faint: false,
        };
        let drawn = |last| bars("t", &[bar(1.0), bar(2.0), bar(last)]).into_string();
        assert_eq!(drawn(3.0).matches("class=\"gap\"").count(), 0);
        assert_eq!(drawn(300.0).matches("class=\"gap\"").count(), 2);
    }
}
