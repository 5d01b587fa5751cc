//! Pages of lists.

use ays_core::Id;

use crate::{Error, Page, Paging, Result};

/// Makes a page of what `rows` gives: each with its cursor, or none for what the query does not want. After `most` rows it
/// is returned with what was found.
pub(crate) fn page<T>(
    rows: impl Iterator<Item = Result<(String, Option<T>)>>,
    paging: &Paging,
    most: usize,
) -> Result<Page<T>> {
    let limit = paging.limit.max(1);
    let mut items = Vec::new();
    let mut last = None;
    for (looked_at, row) in rows.enumerate() {
        // There is a further row, so there is a further page.
        if items.len() == limit || looked_at == most {
            return Ok(Page { items, next: last });
        }
        let (cursor, item) = row?;
        items.extend(item);
        last = Some(cursor);
    }
    Ok(Page { items, next: None })
}

pub(crate) fn no_cursor(cursor: &str) -> Error {
    Error::NotFound(format!("`{cursor}` is not a cursor: use the `next` of a page as it is"))
}

pub(crate) fn id_cursor(paging: &Paging) -> Result<Option<Id>> {
    let parse = |cursor: &String| cursor.parse().map_err(|_| no_cursor(cursor));
    paging.cursor.as_ref().map(parse).transpose()
}
