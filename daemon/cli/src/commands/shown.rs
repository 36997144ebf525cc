//! The rows of a list as they were asked for: those with the fields, sorted, and no more than that.

use serde::Serialize;

use crate::{
    Error,
    args::{Paging, Shown},
    output::Table,
};

/// Leaves the items that were asked for, in that order, and makes the table of them.
///
/// # Errors
/// There is no such column, or an item can't be written as JSON.
pub(super) fn arrange<T: Serialize>(
    items: &mut Vec<T>,
    shown: &Shown,
    paging: &Paging,
    table: impl Fn(&[T]) -> Table,
) -> Result<Table, Error> {
    if !shown.fields.is_empty() {
        let mut kept = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            let value = serde_json::to_value(&item).map_err(|e| Error::Encode {
                form: "JSON",
                source: e.into(),
            })?;
            if shown.fields.iter().all(|field| field.holds(&value)) {
                kept.push(item);
            }
        }
        *items = kept;
    }
    if let Some(sort) = &shown.sort {
        let order = table(items).order(sort).map_err(|rule| Error::Argument {
            what: "--sort",
            value: sort.to_string(),
            rule,
        })?;
        let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
        items.extend(
            order
                .into_iter()
                .filter_map(|i| taken.get_mut(i).and_then(Option::take)),
        );
    }
    items.truncate(Shown::most(paging));
    Ok(table(items))
}
