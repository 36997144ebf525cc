//! Links between pages.

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use tradewind_kit::pages::{self, Page};

use crate::{at, every_page, none};

/// Clicks from the README within which a page of the manual is found, and a decision about the architecture.
const CLICKS: usize = 2;
const CLICKS_TO_DECISIONS: usize = 3;

/// `a/../b` as `b`. None above the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => plain.pop().then_some(())?,
            Component::Normal(name) => plain.push(name),
            _ => {}
        }
    }
    Some(plain)
}

/// The file below the root that a link of a page leads to, and the heading in it. None for links to elsewhere.
fn target(page: &Page, link: &str) -> Option<(Option<PathBuf>, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = page.path.parent().unwrap_or(Path::new(""));
    let file = match path {
        "" => Some(page.path.clone()),
        path => plain(&folder.join(path)),
    };
    Some((file, (!anchor.is_empty()).then(|| anchor.to_owned())))
}

fn problem(page: &Page, link: &str, anchors: &BTreeMap<PathBuf, Vec<String>>) -> Option<String> {
    let (file, anchor) = target(page, link)?;
    let Some(file) = file.filter(|file| pages::root().join(file).exists()) else {
        return Some(format!("\"{link}\" leads to no file of the repository"));
    };
    let anchor = anchor?;
    match anchors.get(&file) {
        None => Some(format!(
            "\"{link}\" names a heading of a file without headings"
        )),
        Some(there) if there.contains(&anchor) => None,
        Some(there) => Some(format!(
            "\"{link}\": no heading of {} has the anchor; there are {}",
            file.display(),
            there.join(", ")
        )),
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = every_page();
    let anchors = pages
        .iter()
        .map(|p| (p.path.clone(), p.anchors()))
        .collect();
    let found: Vec<String> = pages
        .iter()
        .flat_map(|page| page.links().into_iter().map(move |link| (page, link)))
        .filter_map(|(page, link)| Some(at(page, link.line, problem(page, &link.text, &anchors)?)))
        .collect();
    none("broken links", &found);
}

#[test]
fn every_page_is_found_from_the_readme() {
    let pages = every_page();
    let mut clicks: BTreeMap<PathBuf, usize> = BTreeMap::from([("README.md".into(), 0)]);
    for click in 1..=CLICKS_TO_DECISIONS {
        let reached = |page: &&Page| clicks.get(&page.path) == Some(&(click - 1));
        let from: Vec<&Page> = pages.iter().filter(reached).collect();
        for (page, link) in from
            .iter()
            .flat_map(|p| p.links().into_iter().map(move |l| (p, l)))
        {
            if let Some((Some(file), _)) = target(page, &link.text) {
                clicks.entry(file).or_insert(click);
            }
        }
    }
    let found: Vec<String> = pages
        .iter()
        .filter(|page| page.path.starts_with("daemon/docs"))
        .filter(|page| {
            let most = if page.path.starts_with("daemon/docs/adr") {
                CLICKS_TO_DECISIONS
            } else {
                CLICKS
            };
            clicks.get(&page.path).is_none_or(|n| *n > most)
        })
        .map(|page| page.path.display().to_string())
        .collect();
    none("pages too far from the README", &found);
}
