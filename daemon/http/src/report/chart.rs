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
/// The longest label that has room.
const LETTERS: usize = 32;

/// Horizontal bars in the order given, on one scale that begins at zero.
pub(super) fn bars(title: &str, bars: &[Bar]) -> Markup {
    let most = bars
        .iter()
        .map(|b| b.value)
        .filter(|v| v.is_finite())
        .fold(0.0, f64::max);
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
                        text.value x=(format!("{:.1}", end + 6.0)) y=(middle) { (bar.text) }
                    }
                }
            }
        }
    }
}

/// The whole text is in the bar's title.
fn cut(label: &str) -> String {
    if label.chars().count() <= LETTERS {
        return label.to_owned();
    }
    label.chars().take(LETTERS - 1).chain(['…']).collect()
}
