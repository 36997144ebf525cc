//! Lists: all pages one after the other, or as much as was asked for.

use std::io::{self, Write};

use serde::{Serialize, de::DeserializeOwned};
use tradewind_api::{CURSOR, Page};

use super::shown;
use crate::{
    Context, Error,
    args::{Paging, Shown},
    client::Client,
    output::Table,
};

/// The most items of a page.
const LARGEST: usize = 1_000;

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

/// What is asked for of a list that grows with time.
pub(super) struct History {
    pub(super) order: Order,
    pub(super) paging: Paging,
    /// How many are shown where no number is asked for.
    pub(super) usual: usize,
    pub(super) shown: Shown,
}

/// How the pages of such a list follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The newest item first.
    NewestFirst,
    /// Each page with its oldest item first, the newest page first.
    NewestLast,
    /// The oldest item first.
    OldestFirst,
}

/// Prints a list that grows with time: the newest items, or those with the fields that were asked for, in the order that was asked for.
///
/// # Errors
/// Whatever keeps it from being read or printed.
pub(super) async fn history<T, B>(
    context: &Context,
    path: &[&str],
    query: Vec<(&str, String)>,
    asked: History,
    table: impl Fn(&[T]) -> Table,
) -> Result<(), Error>
where
    T: DeserializeOwned + Serialize,
    B: DeserializeOwned + Serialize,
{
    let History {
        order,
        paging,
        usual,
        shown,
    } = asked;
    if shown.is_empty() {
        let list: Page<T, B> = last(context, path, query, paging, usual).await?;
        return context.output.list(&list, &table(&list.items));
    }
    let most = paging.limit.map_or(usual, |limit| {
        usize::try_from(limit.get()).unwrap_or(usize::MAX)
    });
    let mut list: Page<T, B> = page(&context.client, path, &query, Some(LARGEST), None).await?;
    let mut pages = vec![std::mem::take(&mut list.items)];
    while let Some(cursor) = list.next.take() {
        let more: Page<T, B> =
            page(&context.client, path, &query, Some(LARGEST), Some(cursor)).await?;
        pages.push(more.items);
        list.next = more.next;
    }
    if order == Order::NewestLast {
        pages.reverse();
    }
    list.items = pages.into_iter().flatten().collect();
    shown::arrange(&mut list.items, &shown, &Paging::default(), &table)?;
    let surplus = list.items.len().saturating_sub(most);
    if order == Order::NewestLast && shown.sort.is_none() {
        list.items.drain(..surplus);
    } else {
        list.items.truncate(most);
    }
    context.output.list(&list, &table(&list.items))
}

/// One page of a list that goes back into the past. `usual`: its size where none is asked for, which is nothing to tell of.
///
/// # Errors
/// Whatever keeps it from being read.
async fn last<T: DeserializeOwned, B: DeserializeOwned>(
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
