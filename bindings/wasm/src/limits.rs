//! Limits as JSON, with defaults for a page in a browser.

use crate::Failure;
use serde::Deserialize;
use zkinfer_circuits::verify::Limits;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Given {
    card_bytes: Option<usize>,
    proof_bytes: Option<usize>,
    k: Option<u32>,
    columns: Option<usize>,
    points: Option<usize>,
    runs: Option<usize>,
    run_rows: Option<usize>,
    info: Option<usize>,
    nodes: Option<usize>,
    tables: Option<usize>,
    elements: Option<u64>,
    slots: Option<u64>,
    values: Option<usize>,
    pieces: Option<usize>,
}

/// The limits that a caller set, and for the rest those that suit an instance of WebAssembly, whose memory ends at 4 GiB
/// and which has one slow thread.
///
/// # Errors
/// Something else than the JSON of numbers, or unknown names.
pub fn limits(text: &str) -> Result<Limits, Failure> {
    let given: Given = serde_json::from_str(text)
        .map_err(|e| Failure::new("invalid_argument", "limits", e.to_string()))?;
    let mut limits = Limits::default();
    limits.card_bytes = given.card_bytes.unwrap_or(1 << 26);
    limits.proof_bytes = given.proof_bytes.unwrap_or(limits.proof_bytes);
    limits.k = given.k.unwrap_or(14);
    limits.columns = given.columns.unwrap_or(limits.columns);
    limits.points = given.points.unwrap_or(1 << 18);
    limits.runs = given.runs.unwrap_or(limits.runs);
    limits.run_rows = given.run_rows.unwrap_or(limits.run_rows);
    limits.info = given.info.unwrap_or(limits.info);
    let program = &mut limits.program;
    program.nodes = given.nodes.unwrap_or(program.nodes);
    program.tables = given.tables.unwrap_or(program.tables);
    program.elements = given.elements.unwrap_or(1 << 24);
    program.slots = given.slots.unwrap_or(1 << 24);
    program.values = given.values.unwrap_or(program.values);
    program.pieces = given.pieces.unwrap_or(1 << 18);
    Ok(limits)
}
