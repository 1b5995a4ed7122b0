//! What a verifier uses of this crate, on the machine's own vectors and without generics, so that it is compiled here and
//! only here.
//!
//! There is one fast backend today, AVX-512 IFMA. Where [`detect`] finds none, callers do without: `pasta_curves` and
//! `halo2_proofs` compute the same.

use pasta_curves::{Eq, EqAffine, Fp};

#[cfg(target_arch = "x86_64")]
use fast::{Bases, Machine};
#[cfg(not(target_arch = "x86_64"))]
use none::{Bases, Machine};

/// The machine's vectors, with constants.
#[derive(Debug)]
pub struct Native(Machine);

/// Points that are multiplied again and again.
#[derive(Debug)]
pub struct Points(Bases);

/// The fastest backend of this machine, if there is one that is faster than the portable code of others.
pub fn detect() -> Option<&'static Native> {
    static FOUND: std::sync::OnceLock<Option<Native>> = std::sync::OnceLock::new();
    FOUND
        .get_or_init(|| Some(Native(Machine::detect()?)))
        .as_ref()
}

impl Native {
    /// The points of compressed ones, in order; `None` for what is no point. See [`crate::decompress`].
    pub fn decompress(&self, compressed: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
        self.0.decompress(compressed)
    }

    /// Prepares points; at most `2^29`.
    pub fn prepare(&self, points: &[EqAffine]) -> Points {
        Points(self.0.prepare(points))
    }

    /// `Σ scalars[i]·points[i]`, on all threads of the current rayon pool. See [`crate::msm`].
    ///
    /// # Panics
    /// If there are more scalars than points.
    pub fn sum(&self, points: &Points, scalars: &[Fp]) -> Eq {
        self.0.sum(&points.0, scalars)
    }
}

#[cfg(target_arch = "x86_64")]
mod fast {
    use super::{Eq, EqAffine, Fp};
    use crate::decompress::Decompress;
    use crate::msm::{At, Bases as BasesOf, Job, Part, Scalars, msm_parallel};
    use crate::vector::{Backend, Ifma};

    pub type Bases = BasesOf<Ifma>;

    #[derive(Debug)]
    pub struct Machine {
        backend: Ifma,
        decompress: Decompress<Ifma>,
    }

    impl Machine {
        pub fn detect() -> Option<Machine> {
            let backend = Ifma::detect()?;
            let decompress = Decompress::new(backend);
            Some(Machine {
                backend,
                decompress,
            })
        }

        pub fn decompress(&self, compressed: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
            self.decompress.points(self.backend, compressed)
        }

        pub fn prepare(&self, points: &[EqAffine]) -> Bases {
            Bases::new(self.backend, points)
        }

        pub fn sum(&self, points: &Bases, scalars: &[Fp]) -> Eq {
            let job = Job {
                parts: vec![Part {
                    at: At::From(0),
                    scalars: Scalars::Field(scalars),
                }],
            };
            let sum = msm_parallel(self.backend, points, &[job]).pop();
            sum.expect("one job has one sum")
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod none {
    use super::{Eq, EqAffine, Fp};

    /// Values of these types do not exist.
    #[derive(Debug)]
    pub enum Machine {}
    pub type Bases = Machine;

    impl Machine {
        pub fn detect() -> Option<Machine> {
            None
        }

        pub fn decompress(&self, _: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
            match *self {}
        }

        pub fn prepare(&self, _: &[EqAffine]) -> Bases {
            match *self {}
        }

        pub fn sum(&self, _: &Bases, _: &[Fp]) -> Eq {
            match *self {}
        }
    }
}
