//! Writes `docs/operators.md` from the importer's list of operators.
//!
//! ```text
//! cargo xtask operators
//! ```

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operators.md");
    std::fs::write(path, zkinfer::onnx::operators::page())?;
    println!("{path}");
    Ok(())
}
