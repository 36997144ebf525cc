//! The live display while a command waits: a line for each task, redrawn on a terminal, printed when it changes elsewhere.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, IsTerminal},
    time::Duration,
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tradewind_api::{DeploymentView, Status, TaskView};
use tradewind_core::rollout;

use super::{
    output::{cut, fold},
    render::{self, progress::Standing},
    tame::tame,
};

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
/// Columns before the text of a line: the spinner and how long it has been waited.
const BEFORE: usize = 8;
/// The most lines of a reason.
const REASON: usize = 3;
/// Before each of them.
const INDENT: &str = "       ";

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
        let step = render::rollout::step(view).map(|step| Standing {
            line: format!("{name}: {step}"),
            reason: String::new(),
            stands: view
                .rollout
                .as_ref()
                .is_some_and(|r| r.status == rollout::Status::Done),
        });
        self.replace(name.to_string(), step);
        self.replace(format!("{name} "), render::progress::deployment(view));
        for task in &view.tasks {
            let mut shown = label(task);
            if self.several {
                shown = format!("{name}/{shown}");
            }
            let standing = match view.summary.status {
                Status::Deleting => render::progress::ending(&shown, task),
                _ => render::progress::task(&shown, task),
            };
            self.replace(format!("{name}/{}", label(task)), Some(standing));
        }
    }

    /// A line that takes the place of an earlier one with its key. `stands`: it will not change any more.
    pub(crate) fn put(&self, key: String, line: String, stands: bool) {
        let standing = Standing {
            line,
            reason: String::new(),
            stands,
        };
        self.replace(key, Some(standing));
    }

    /// Puts a line in the place of the one with this key. None: there is nothing to be said any more.
    fn replace(&self, key: String, standing: Option<Standing>) {
        match (&mut *self.display.borrow_mut(), standing) {
            (Display::Silent, _) => {}
            (Display::Lines(last), Some(standing)) => {
                let line = tame(&standing.whole());
                if last.get(&key) != Some(&line) {
                    eprintln!("{line}");
                    last.insert(key, line);
                }
            }
            (Display::Lines(last), None) => {
                last.remove(&key);
            }
            (Display::Live { all, bars }, Some(standing)) => {
                let bar = bars.entry(key).or_insert_with(|| all.add(spinner()));
                let text = live(&standing, Term::stderr().size().1.into());
                if standing.stands {
                    bar.finish_with_message(text);
                } else {
                    if bar.is_finished() {
                        bar.reset();
                        bar.enable_steady_tick(REDRAW);
                    }
                    bar.set_message(text);
                }
            }
            (Display::Live { all, bars }, None) => {
                if let Some(bar) = bars.remove(&key) {
                    bar.finish_and_clear();
                    all.remove(&bar);
                }
            }
        }
    }

    /// Ends the display. The last state stays on the screen, unless the result is told there.
    pub(crate) fn finish(&self, told: bool) {
        if let Display::Live { bars, .. } = &*self.display.borrow() {
            let end: fn(&ProgressBar) = match told && io::stdout().is_terminal() {
                true => ProgressBar::finish_and_clear,
                false => ProgressBar::abandon,
            };
            bars.values().for_each(end);
        }
    }
}

/// The text of a line of so many columns, with the reason below it.
fn live(standing: &Standing, columns: usize) -> String {
    let room = columns.saturating_sub(BEFORE).max(BEFORE);
    let mut text = cut(&tame(&standing.line), room);
    for line in fold(&tame(&standing.reason), room, REASON) {
        text.push('\n');
        text.push_str(INDENT);
        text.push_str(&line);
    }
    text
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_its_reason_folded() {
        let standing = Standing {
            line: "web: 0/1 ready, waiting for 1 replica to start".to_owned(),
            reason:
                "the image is not there: name one that is there, or give the registry a credential"
                    .to_owned(),
            stands: false,
        };
        assert_eq!(
            live(&standing, 40),
            "web: 0/1 ready, waiting for 1 r…\n       the image is not there: name one\n       \
             that is there, or give the\n       registry a credential"
        );
    }
}
