//! Writes the parameters that are shipped with the crate into `crates/verifier/src/params/`; a test compares them.
//!
//! ```text
//! cargo xtask generate_params
//! ```

use halo2_proofs::poly::commitment::Params;
use zkinfer::params::MAX_SHIPPED_K;
use zkinfer_circuits::C;
use zkinfer_circuits::generators::Generators;
use zkinfer_circuits::layout::MIN_K;

fn main() -> std::io::Result<()> {
    let dir =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/verifier/src/params");
    let mut total = 0;
    let mut save = |name: &str, bytes: &[u8]| {
        total += bytes.len();
        std::fs::write(dir.join(name), bytes)
    };
    for k in MIN_K..=MAX_SHIPPED_K {
        let mut bytes = Vec::new();
        Params::<C>::new(k).write(&mut bytes)?;
        // k, monomial basis, Lagrange basis, two further points.
        let lagrange = &bytes[4 + (32 << k)..][..32 << k];
        save(&format!("lagrange-{k}.bin"), lagrange)?;
    }
    // Header, k, points, checksum.
    let generators = Generators::new(MAX_SHIPPED_K).to_bytes();
    save("generators.bin", &generators[14..generators.len() - 32])?;
    println!("{total} bytes in {}", dir.display());
    Ok(())
}
