//! Writes what the page needs besides code: parameters, and a forged proof for the demonstration. Called by `bindings/web/build.sh`.
//!
//! ```text
//! cargo run --release -p zkinfer-wasm --example web_files -- bindings/web/dist
//! ```

use std::path::Path;
use zkinfer_circuits::card::Proof;
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::layout::MIN_K;
use zkinfer_circuits::statement::Claim;

type Failure = Box<dyn std::error::Error>;

/// Larger ones are made in the browser if they are needed at all.
const MAX_K: u32 = 12;

fn main() -> Result<(), Failure> {
    let folder = std::env::args().nth(1).ok_or("argument: folder")?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder.join("verifier/params"))?;
    std::fs::create_dir_all(folder.join("demo"))?;
    for k in MIN_K..=MAX_K {
        let file = folder.join(format!("verifier/params/params-{k}.bin"));
        std::fs::write(file, Generators::new(k).to_bytes())?;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let honest = std::fs::read(fixtures.join("digits_0.proof"))?;
    std::fs::write(folder.join("demo/forged.proof"), forge(&honest)?)?;
    Ok(())
}

/// The same proof, but with another answer: the scores of the winning class and of class 9 change places.
fn forge(honest: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut proof = Proof::from_bytes(honest, honest.len())?;
    let Claim::Values(scores) = &mut proof.runs[0].1 else {
        return Err("the stored proof should carry its output".into());
    };
    let winner = (0..scores.len()).max_by_key(|&i| scores[i]).unwrap_or(0);
    scores.swap(winner, 9);
    Ok(proof.to_bytes())
}
