//! The live display while a command waits: one line per task, redrawn on a terminal, printed when it changes elsewhere.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tradewind_api::{DeploymentView, Status, TaskView};
use tradewind_core::rollout;

use super::{render, tame::tame};

/// Shows states on standard error.
pub(crate) struct Progress {
    display: RefCell<Display>,
    /// Lines name their deployment.
    several: bool,
}

enum Display {
    /// Programs read the result only.
    Silent,
    /// The last line printed per task.
    Lines(BTreeMap<String, String>),
    Live {
        all: MultiProgress,
        bars: BTreeMap<String, ProgressBar>,
    },
}

const REDRAW: Duration = Duration::from_millis(120);

impl Progress {
    pub(crate) fn new(for_people: bool, several: bool) -> Self {
        let display = if !for_people {
            Display::Silent
        } else if io::stderr().is_terminal() {
            Display::Live {
                all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
                bars: BTreeMap::new(),
            }
        } else {
            Display::Lines(BTreeMap::new())
        };
        Self {
            display: display.into(),
            several,
        }
    }

    pub(crate) fn show(&self, view: &DeploymentView) {
        let name = &view.summary.name;
        if let Some(step) = render::rollout::step(view) {
            let is_over = view
                .rollout
                .as_ref()
                .is_some_and(|r| r.status == rollout::Status::Done);
            self.put(name.to_string(), tame(&format!("{name}: {step}")), is_over);
        }
        for task in &view.tasks {
            let key = format!("{name}/{}", label(task));
            let line = if self.several {
                tame(&format!("{name}/{}", line(task)))
            } else {
                tame(&line(task))
            };
            let stands = matches!(
                task.status,
                Status::Running | Status::Idle | Status::Completed
            );
            self.put(key, line, stands);
        }
    }

    /// A line that takes the place of an earlier one with its key. `stands`: it will not change any more.
    pub(crate) fn put(&self, key: String, line: String, stands: bool) {
        match &mut *self.display.borrow_mut() {
            Display::Silent => {}
            Display::Lines(last) => {
                if last.get(&key) != Some(&line) {
                    eprintln!("{line}");
                    last.insert(key, line);
                }
            }
            Display::Live { all, bars } => {
                let bar = bars.entry(key).or_insert_with(|| all.add(spinner()));
                if stands {
                    bar.finish_with_message(line);
                } else {
                    bar.set_message(line);
                }
            }
        }
    }

    /// Leaves the last state on the screen.
    pub(crate) fn finish(&self) {
        if let Display::Live { bars, .. } = &*self.display.borrow() {
            bars.values().for_each(ProgressBar::abandon);
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    bar
}

/// A task at several targets is several lines.
fn label(task: &TaskView) -> String {
    match &task.target {
        Some(target) => format!("{} at {target}", task.name),
        None => task.name.to_string(),
    }
}

fn line(task: &TaskView) -> String {
    let places = task.allocations.iter().filter(|a| !a.superseded).map(|a| {
        let region = if a.region.is_empty() {
            String::new()
        } else {
            format!("/{}", a.region)
        };
        format!(
            "{}{region} {}/{} {}",
            a.provider, a.ready, a.replicas, a.phase
        )
    });
    let places: Vec<String> = places.collect();
    let mut line = format!(
        "{}: {} {}/{} ready",
        label(task),
        task.status,
        task.ready,
        task.replicas
    );
    if !places.is_empty() {
        line.push_str(&format!(" [{}]", places.join(", ")));
    }
    if !task.message.is_empty() {
        line.push_str(&format!(" {}", task.message));
    }
    line
}
