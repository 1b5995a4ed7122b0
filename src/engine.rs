//! The provers that there are, by name.

use zkinfer_engine::has_ifma;

/// Which prover makes the halo2 part of a proof. All make the same bytes from the same random values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// The fastest that this machine has.
    #[default]
    Auto,
    /// The project's engine in plain Rust.
    Portable,
    /// The project's engine on AVX-512 IFMA.
    Ifma,
    /// `halo2_proofs::plonk::create_proof`, the reference.
    Upstream,
}

impl Engine {
    /// All that this machine can run, the reference last.
    pub fn available() -> Vec<Engine> {
        [Engine::Portable, Engine::Ifma, Engine::Upstream]
            .into_iter()
            .filter(|e| e.is_available())
            .collect()
    }

    /// Whether this machine can run it.
    pub fn is_available(self) -> bool {
        match self {
            Engine::Ifma => has_ifma(),
            Engine::Auto | Engine::Portable | Engine::Upstream => true,
        }
    }

    /// The name by which [`Engine::from_str`](std::str::FromStr) knows it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Auto => "auto",
            Engine::Portable => "portable",
            Engine::Ifma => "ifma",
            Engine::Upstream => "upstream",
        }
    }
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Engine {
    type Err = String;
    fn from_str(s: &str) -> Result<Engine, String> {
        let all = [
            Engine::Auto,
            Engine::Portable,
            Engine::Ifma,
            Engine::Upstream,
        ];
        all.into_iter()
            .find(|e| e.name() == s)
            .ok_or_else(|| format!("unknown engine {s:?}: choose auto, portable, ifma or upstream"))
    }
}
