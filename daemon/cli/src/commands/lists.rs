//! Lists: all pages one after the other, or as much as was asked for.

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use tradewind_api::{CURSOR, Page};

use crate::{Context, Error, args::Paging, client::Client};

/// A list as far as it was asked for: whole without a limit. Where there is more, that is told beside the result.
///
/// # Errors
/// Whatever keeps a page from being read.
pub(super) async fn read<T: DeserializeOwned, B: DeserializeOwned>(
    context: &Context,
    path: &[&str],
    query: Vec<(&str, String)>,
    paging: Paging,
) -> Result<Page<T, B>, Error> {
    read_from(&context.client, path, query, paging).await
}

/// The same with another client, such as that of a daemon that was found again.
///
/// # Errors
/// Whatever keeps a page from being read.
pub(super) async fn read_from<T: DeserializeOwned, B: DeserializeOwned>(
    client: &Client,
    path: &[&str],
    query: Vec<(&str, String)>,
    paging: Paging,
) -> Result<Page<T, B>, Error> {
    let list = first(client, path, query, paging).await?;
    list.next.iter().for_each(|cursor| more(cursor));
    Ok(list)
}

/// The same without a word on what more there is.
///
/// # Errors
/// Whatever keeps a page from being read.
pub(super) async fn first<T: DeserializeOwned, B: DeserializeOwned>(
    client: &Client,
    path: &[&str],
    query: Vec<(&str, String)>,
    paging: Paging,
) -> Result<Page<T, B>, Error> {
    let most = paging
        .limit
        .map(|limit| usize::try_from(limit.get()).unwrap_or(usize::MAX));
    let mut list = page(client, path, &query, most, paging.cursor).await?;
    while let Some(cursor) = list.next.take() {
        let left = most.map(|most| most.saturating_sub(list.items.len()));
        if left == Some(0) {
            list.next = Some(cursor);
            break;
        }
        list.join(page(client, path, &query, left, Some(cursor)).await?);
    }
    Ok(list)
}

/// One page of a list that goes back into the past. `usual`: its size where none is asked for, which is nothing to tell of.
///
/// # Errors
/// Whatever keeps it from being read.
pub(super) async fn last<T: DeserializeOwned, B: DeserializeOwned>(
    context: &Context,
    path: &[&str],
    query: Vec<(&str, String)>,
    paging: Paging,
    usual: usize,
) -> Result<Page<T, B>, Error> {
    let asked = paging.limit.is_some() || paging.cursor.is_some();
    let limit = paging.limit.map_or(usual, |limit| {
        usize::try_from(limit.get()).unwrap_or(usize::MAX)
    });
    let page: Page<T, B> = page(&context.client, path, &query, Some(limit), paging.cursor).await?;
    page.next
        .iter()
        .filter(|_| asked)
        .for_each(|cursor| more(cursor));
    Ok(page)
}

async fn page<T: DeserializeOwned, B: DeserializeOwned>(
    client: &Client,
    path: &[&str],
    query: &[(&str, String)],
    limit: Option<usize>,
    cursor: Option<String>,
) -> Result<Page<T, B>, Error> {
    let mut query = query.to_vec();
    query.extend(limit.map(|limit| ("limit", limit.to_string())));
    query.extend(cursor.map(|cursor| (CURSOR, cursor)));
    Ok(client.get(path, &query).await?)
}

/// Beside the result, so that what reads the result is not disturbed.
fn more(cursor: &str) {
    // Where it can't be told, nobody looks.
    let _ = writeln!(io::stderr(), "there are more: --cursor {cursor}");
}
