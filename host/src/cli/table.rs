//! Lists as tables: one line for each item, columns that line up, no frame, so that `grep` and `awk` work on them.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde_json::Value;

/// A column: its heading, and where its value is in an item (a JSON pointer).
pub(super) type Column = (&'static str, &'static str);

/// The table of these items.
pub(super) fn table(columns: &[Column], items: &[Value]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(_, at)| cell(item.pointer(at))));
    }
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The most characters of a cell.
const WIDEST: usize = 60;

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        Some(value) => value.to_string(),
    };
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(WIDEST) {
        Some((at, _)) => format!("{}…", clean.get(..at).unwrap_or_default()),
        None if clean.is_empty() => "-".into(),
        None => clean,
    }
}
