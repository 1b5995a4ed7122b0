//! Writes `docs/operators.md` from the importer's list of operators.
//!
//! ```text
//! cargo run --release --example operators
//! ```

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operators.md");
    std::fs::write(path, zkinfer::import::operators::page())?;
    println!("{path}");
    Ok(())
}
