//! Lists: all pages one after the other, or as much as was asked for.

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use tradewind_api::{CURSOR, OffersView, Plugins, RegionsView, ReplacementsView};

use crate::{Context, Error, args::Paging};

/// What a list answers page by page.
pub(super) trait Pages: DeserializeOwned {
    fn count(&self) -> usize;
    fn join(&mut self, next: Self);
}

impl<T: DeserializeOwned> Pages for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
    fn join(&mut self, next: Self) {
        self.extend(next);
    }
}

impl Pages for OffersView {
    fn count(&self) -> usize {
        self.offers.len()
    }
    fn join(&mut self, next: Self) {
        self.offers.extend(next.offers);
    }
}

impl Pages for RegionsView {
    fn count(&self) -> usize {
        self.regions.len()
    }
    fn join(&mut self, next: Self) {
        self.regions.extend(next.regions);
    }
}

impl Pages for ReplacementsView {
    fn count(&self) -> usize {
        self.services.len()
    }
    fn join(&mut self, next: Self) {
        self.services.extend(next.services);
    }
}

impl Pages for Plugins {
    fn count(&self) -> usize {
        self.plugins.len()
    }
    fn join(&mut self, next: Self) {
        self.plugins.extend(next.plugins);
    }
}

/// A list as far as it was asked for: whole without a limit. Where there is more, that is told beside the result.
///
/// # Errors
/// Whatever keeps a page from being read.
pub(super) async fn read<T: Pages>(
    context: &Context,
    path: &[&str],
    query: Vec<(&str, String)>,
    paging: Paging,
) -> Result<T, Error> {
    let most = paging
        .limit
        .map(|limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
    let (mut list, mut next) = page::<T>(context, path, &query, most, paging.cursor).await?;
    while let Some(cursor) = next.take() {
        let left = most.map(|most| most.saturating_sub(list.count()));
        if left == Some(0) {
            more(&cursor);
            break;
        }
        let (page, behind) = page::<T>(context, path, &query, left, Some(cursor)).await?;
        list.join(page);
        next = behind;
    }
    Ok(list)
}

/// One page of a list that goes back into the past. `usual`: its size where none is asked for, which is nothing to tell of.
///
/// # Errors
/// Whatever keeps it from being read.
pub(super) async fn last<T: DeserializeOwned>(
    context: &Context,
    path: &[&str],
    query: Vec<(&str, String)>,
    paging: Paging,
    usual: usize,
) -> Result<T, Error> {
    let asked = paging.limit.is_some() || paging.cursor.is_some();
    let limit = paging.limit.map_or(usual, |limit| {
        usize::try_from(limit.get()).unwrap_or(usize::MAX)
    });
    let (page, next) = page(context, path, &query, Some(limit), paging.cursor).await?;
    next.iter()
        .filter(|_| asked)
        .for_each(|cursor| more(cursor));
    Ok(page)
}

async fn page<T: DeserializeOwned>(
    context: &Context,
    path: &[&str],
    query: &[(&str, String)],
    limit: Option<usize>,
    cursor: Option<String>,
) -> Result<(T, Option<String>), Error> {
    let mut query = query.to_vec();
    query.extend(limit.map(|limit| ("limit", limit.to_string())));
    query.extend(cursor.map(|cursor| (CURSOR, cursor)));
    Ok(context.client.page(path, &query).await?)
}

/// Beside the result, so that what reads the result is not disturbed.
fn more(cursor: &str) {
    // Where it can't be told, nobody looks.
    let _ = writeln!(io::stderr(), "there are more: --cursor {cursor}");
}
