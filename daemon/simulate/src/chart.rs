//! Charts as SVG: curves over time in panels, one below the other. Values in, text out; one self-contained file without scripts, readable on
//! light and dark grounds.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 20.0;
const HEAD: f64 = 48.0;
/// Of a panel: its title and legend, its plot, its time axis.
const TOP: f64 = 30.0;
const PLOT: f64 = 140.0;
const BOTTOM: f64 = 34.0;

/// Panels over one time axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub title: String,
    /// Hours that a bar stands for.
    pub step: f64,
    /// Hours: where the time axis ends.
    pub to: f64,
    pub panels: Vec<Panel>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    pub title: String,
    pub unit: Unit,
    pub shape: Shape,
    /// At most four are told apart by colour.
    pub curves: Vec<Curve>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pub name: String,
    /// Hours and values, in the order of time. What is no number is left out.
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Usd,
    /// From 0 to 100.
    Percent,
    Count,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Line,
    /// One for each point, beside each other.
    Bars,
}

const STYLE: &str = "\
.chart{--ground:#fcfcfb;--ink:#1f1e1c;--soft:#6b6a66;--grid:#e4e3df;--c0:#2a78d6;--c1:#c2570c;--c2:#1a8f5f;--c3:#8a4fc7;\
font-family:system-ui,sans-serif;background:var(--ground)}\
@media (prefers-color-scheme:dark){.chart{--ground:#1a1a19;--ink:#f0efec;--soft:#a3a29d;--grid:#383835;--c0:#5a9ff0;--c1:#f0904a;--c2:#3dbd88;--c3:#b78af0}}\
.chart .ground{fill:var(--ground)}.chart text{fill:var(--ink);font-size:13px}.chart .head{font-size:16px;font-weight:600}\
.chart .title{font-weight:600}.chart .tick{fill:var(--soft);font-size:11px;font-variant-numeric:tabular-nums}\
.chart .grid{stroke:var(--grid);stroke-width:1}.chart polyline{fill:none;stroke-width:2;stroke-linejoin:round}\
.chart .l0{stroke:var(--c0)}.chart .l1{stroke:var(--c1)}.chart .l2{stroke:var(--c2)}.chart .l3{stroke:var(--c3)}\
.chart .b0{fill:var(--c0)}.chart .b1{fill:var(--c1)}.chart .b2{fill:var(--c2)}.chart .b3{fill:var(--c3)}";

impl Chart {
    /// The chart as a file of its own. It can also stand in an HTML page as it is.
    pub fn svg(&self) -> String {
        let panel_height = TOP + PLOT + BOTTOM;
        let height = HEAD + panel_height * self.panels.len() as f64;
        let mut out = String::new();
        let title = escape(&self.title);
        line(
            &mut out,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">"
            ),
        );
        line(
            &mut out,
            format_args!("<title>{title}</title>\n<style>{STYLE}</style>"),
        );
        line(
            &mut out,
            format_args!("<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>"),
        );
        line(
            &mut out,
            format_args!("<text class=\"head\" x=\"{LEFT}\" y=\"28\">{title}</text>"),
        );
        for (i, panel) in self.panels.iter().enumerate() {
            line(
                &mut out,
                format_args!(
                    "<g transform=\"translate(0 {})\">",
                    HEAD + panel_height * i as f64
                ),
            );
            self.panel(&mut out, panel);
            line(&mut out, format_args!("</g>"));
        }
        out.push_str("</svg>\n");
        out
    }

    fn panel(&self, out: &mut String, panel: &Panel) {
        let curves: Vec<Curve> = panel.curves.iter().map(|c| c.known(self.to)).collect();
        line(
            out,
            format_args!(
                "<text class=\"title\" x=\"{LEFT}\" y=\"16\">{}</text>",
                escape(&panel.title)
            ),
        );
        legend(out, panel.shape, &curves);
        let values = curves.iter().flat_map(|c| &c.points).map(|p| p.1);
        let highest = if panel.unit == Unit::Percent {
            100.0
        } else {
            values.fold(0.0, f64::max)
        };
        let steps = steps(highest, 4, panel.unit == Unit::Count);
        let top = steps.last().copied().unwrap_or(1.0);
        let y = |v: f64| TOP + PLOT * (1.0 - v.clamp(0.0, top) / top);
        for v in &steps {
            let at = y(*v);
            line(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.0}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>",
                    WIDTH - RIGHT
                ),
            );
            let label = panel.unit.label(*v);
            line(
                out,
                format_args!(
                    "<text class=\"tick\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                    LEFT - 8.0,
                    at + 4.0
                ),
            );
        }
        for (hours, label) in times(self.to) {
            let at = self.x(hours);
            let y = TOP + PLOT + 18.0;
            // As wide as most letters are: one that would pass the edge ends there.
            let half = 3.5 * label.chars().count() as f64;
            let (at, anchor) = if at + half > WIDTH - 2.0 {
                (WIDTH - 2.0, "end")
            } else {
                (at, "middle")
            };
            line(
                out,
                format_args!(
                    "<text class=\"tick\" x=\"{at:.1}\" y=\"{y:.0}\" text-anchor=\"{anchor}\">{label}</text>"
                ),
            );
        }
        if curves.iter().all(|c| c.points.is_empty()) {
            let (x, y) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, TOP + PLOT / 2.0);
            line(
                out,
                format_args!(
                    "<text class=\"tick\" x=\"{x:.0}\" y=\"{y:.0}\" text-anchor=\"middle\">nothing is known of it</text>"
                ),
            );
        }
        for (i, curve) in curves
            .iter()
            .enumerate()
            .filter(|(_, c)| !c.points.is_empty())
        {
            match panel.shape {
                Shape::Line => self.curve(out, i, curve, y),
                Shape::Bars => self.bars(out, (i, curves.len()), curve, y),
            }
        }
    }

    fn x(&self, hours: f64) -> f64 {
        let share = if self.to > 0.0 { hours / self.to } else { 0.0 };
        LEFT + (WIDTH - LEFT - RIGHT) * share
    }

    fn curve(&self, out: &mut String, i: usize, curve: &Curve, y: impl Fn(f64) -> f64) {
        let points = thinned(curve.points.iter().map(|(t, v)| (self.x(*t), y(*v))));
        let text: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        line(
            out,
            format_args!(
                "<polyline class=\"l{}\" points=\"{}\"><title>{}</title></polyline>",
                i % 4,
                text.join(" "),
                escape(&curve.name)
            ),
        );
    }

    fn bars(
        &self,
        out: &mut String,
        (i, of): (usize, usize),
        curve: &Curve,
        y: impl Fn(f64) -> f64,
    ) {
        let room = self.x(self.step) - self.x(0.0);
        let width = (room * 0.8 / of.max(1) as f64).clamp(1.0, 24.0);
        for (t, v) in curve.points.iter().filter(|(_, v)| *v > 0.0) {
            let (x, top) = (self.x(*t) + width * i as f64, y(*v));
            let (height, name) = (TOP + PLOT - top, escape(&curve.name));
            line(
                out,
                format_args!(
                    "<rect class=\"b{}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{name}: {v}</title></rect>",
                    i % 4
                ),
            );
        }
    }
}

impl Curve {
    fn known(&self, to: f64) -> Self {
        let fits =
            |p: &&(f64, f64)| p.0.is_finite() && p.1.is_finite() && (0.0..=to).contains(&p.0);
        Self {
            name: self.name.clone(),
            points: self.points.iter().filter(fits).copied().collect(),
        }
    }
}

impl Unit {
    fn label(self, value: f64) -> String {
        match self {
            Self::Usd => match short(value) {
                // A tenth of a dollar is ten cents.
                text if text.split_once('.').is_some_and(|(_, d)| d.len() == 1) => {
                    format!("${text}0")
                }
                text => format!("${text}"),
            },
            Self::Percent => format!("{}%", short(value)),
            Self::Count => short(value),
        }
    }
}

/// Writing to a string can't fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{text}");
}

/// Names, from the right end, for those that are drawn, if there is more than one.
fn legend(out: &mut String, shape: Shape, curves: &[Curve]) {
    let drawn: Vec<(usize, &Curve)> = curves
        .iter()
        .enumerate()
        .filter(|(_, c)| !c.points.is_empty())
        .collect();
    if curves.len() < 2 {
        return;
    }
    let mut x = WIDTH - RIGHT;
    for (i, curve) in drawn.into_iter().rev() {
        // As wide as most letters are, and the swatch.
        let width = 7.0 * curve.name.chars().count() as f64 + 34.0;
        x -= width;
        let height = if shape == Shape::Line { 3.0 } else { 10.0 };
        let y = 12.0 - height / 2.0;
        line(
            out,
            format_args!(
                "<rect class=\"b{}\" x=\"{x:.0}\" y=\"{y:.1}\" width=\"14\" height=\"{height}\"/>",
                i % 4
            ),
        );
        line(
            out,
            format_args!(
                "<text class=\"tick\" x=\"{:.0}\" y=\"16\">{}</text>",
                x + 20.0,
                escape(&curve.name)
            ),
        );
    }
}

/// From 0 to at least the highest, in steps of 1, 2 or 5 times a power of ten.
fn steps(highest: f64, about: u32, whole: bool) -> Vec<f64> {
    let highest = if highest > 0.0 && highest.is_finite() {
        highest
    } else {
        1.0
    };
    let rough = highest / f64::from(about);
    let power = 10f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|n| *n >= rough * 0.999_999)
        .unwrap_or(rough);
    let step = if whole { nice.max(1.0).round() } else { nice };
    let n = (highest / step * 0.999_999).ceil().max(1.0) as u32;
    (0..=n).map(|i| f64::from(i) * step).collect()
}

/// Ticks of the time axis, in hours, with their labels.
fn times(to: f64) -> Vec<(f64, String)> {
    const MINUTES: [f64; 16] = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 240.0, 360.0, 720.0, 1440.0, 2880.0, 7200.0,
        14_400.0, 43_200.0,
    ];
    let minutes = to * 60.0;
    // The unit goes by the length of the axis, and its steps are halves of it or more.
    let (unit, name, least) = if minutes <= 90.0 {
        (1.0, "min", 1.0)
    } else if minutes <= 2880.0 {
        (60.0, "h", 30.0)
    } else {
        (1440.0, "d", 720.0)
    };
    let fits = |step: &f64| *step >= least && minutes / step <= 10.0;
    let step = MINUTES
        .into_iter()
        .find(fits)
        .unwrap_or_else(|| (minutes / 10.0 / 43_200.0).ceil() * 43_200.0);
    let n = (minutes / step + 1e-9).floor().max(0.0) as u32;
    (0..=n)
        .map(|i| f64::from(i) * step)
        .map(|m| (m / 60.0, format!("{} {name}", short(m / unit))))
        .collect()
}

/// Few digits, none that are zero at the end.
fn short(value: f64) -> String {
    let (value, suffix) = if value >= 1e6 {
        (value / 1e6, "M")
    } else if value >= 1e4 {
        (value / 1e3, "k")
    } else {
        (value, "")
    };
    let digits = if value == 0.0 {
        0
    } else {
        (3 - value.abs().log10().floor() as i32).clamp(0, 6)
    };
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{suffix}")
}

/// Of many points in one column of pixels the first, the highest, the lowest and the last say it all.
fn thinned(points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut out: Vec<(f64, f64)> = Vec::new();
    let mut column: Vec<(f64, f64)> = Vec::new();
    for point in points {
        if column
            .first()
            .is_some_and(|first| first.0.floor() != point.0.floor())
        {
            settle(&mut column, &mut out);
        }
        column.push(point);
    }
    settle(&mut column, &mut out);
    out
}

fn settle(column: &mut Vec<(f64, f64)>, out: &mut Vec<(f64, f64)>) {
    if column.len() > 4 {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let ends = [
            column.first(),
            column.iter().min_by(by_value),
            column.iter().max_by(by_value),
            column.last(),
        ];
        let kept: Vec<(f64, f64)> = ends.into_iter().flatten().copied().collect();
        *column = kept;
        // The curve goes forward in time.
        column.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    out.append(column);
}

/// Text that comes from others, as text.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(steps(0.0, 4, false), [0.0, 0.5, 1.0]);
        assert_eq!(steps(97.0, 4, false), [0.0, 50.0, 100.0]);
        assert_eq!(steps(3.0, 4, true), [0.0, 1.0, 2.0, 3.0]);
        let labels = |to| {
            times(to)
                .into_iter()
                .map(|(_, label)| label)
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(0.05), ["0 min", "1 min", "2 min", "3 min"]);
        assert_eq!(labels(2.0), ["0 h", "0.5 h", "1 h", "1.5 h", "2 h"]);
        assert_eq!(labels(24.0).last().map(String::as_str), Some("24 h"));
        assert_eq!(labels(24.0 * 9.0).get(1).map(String::as_str), Some("1 d"));
        assert_eq!(
            [0.0, 0.05, 1234.5, 12_300.0, 2.5e6].map(short),
            ["0", "0.05", "1234", "12.3k", "2.5M"]
        );
    }

    #[test]
    fn names_of_others_stay_text_and_what_is_no_number_is_left_out() {
        let curve = |name: &str, points: &[(f64, f64)]| Curve {
            name: name.to_owned(),
            points: points.to_vec(),
        };
        let chart = Chart {
            title: "<script>&\"\u{1}".to_owned(),
            step: 1.0,
            to: 2.0,
            panels: vec![Panel {
                title: "a".to_owned(),
                unit: Unit::Usd,
                shape: Shape::Line,
                curves: vec![
                    curve("x<y", &[(0.0, 1.0), (1.0, f64::NAN), (2.0, 2.0)]),
                    curve("none", &[]),
                ],
            }],
        };
        let svg = chart.svg();
        assert!(
            svg.contains("&lt;script&gt;&amp;&quot;\u{fffd}") && !svg.contains("<script"),
            "{svg}"
        );
        assert!(
            svg.contains("<title>x&lt;y</title>") && !svg.contains("NaN"),
            "{svg}"
        );
        assert_eq!(svg.matches("<polyline").count(), 1);
    }

    #[test]
    fn amounts_have_cents() {
        let labels = [0.0, 0.4, 0.05, 1.5, 20.0, 12_300.0].map(|v| Unit::Usd.label(v));
        assert_eq!(labels, ["$0", "$0.40", "$0.05", "$1.50", "$20", "$12.3k"]);
    }

    #[test]
    fn the_last_label_ends_at_the_edge() {
        let chart = Chart {
            title: "t".to_owned(),
            step: 1.0,
            to: 1.0,
            panels: vec![Panel {
                title: "a".to_owned(),
                unit: Unit::Count,
                shape: Shape::Line,
                curves: Vec::new(),
            }],
        };
        let svg = chart.svg();
        assert!(
            svg.contains("x=\"958.0\" y=\"188\" text-anchor=\"end\">60 min<"),
            "{svg}"
        );
    }

    #[test]
    fn a_thinned_curve_keeps_its_peaks() {
        let points =
            (0..10_000).map(|i| (f64::from(i) / 100.0, if i == 5_555 { 9.0 } else { 1.0 }));
        let kept = thinned(points);
        assert!(
            kept.len() <= 400 && kept.iter().any(|p| p.1 == 9.0),
            "{}",
            kept.len()
        );
    }
}
