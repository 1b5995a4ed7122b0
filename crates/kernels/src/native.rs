//! What a verifier uses of this crate, on the machine's own vectors and without generics, so that it is compiled here and
//! only here.

use crate::decompress::Decompress;
use crate::fold::fold;
use crate::msm::{At, Bases, Job, Part, Scalars, msm_parallel};
#[cfg(target_arch = "x86_64")]
use crate::vector::Ifma;
use crate::vector::{Backend, Kernel, PLAIN, Plain, Vector};
use pasta_curves::{Eq, EqAffine, Fp};
use std::sync::OnceLock;

/// The machine's vectors, with constants.
#[derive(Debug)]
pub struct Native(Machines);

#[derive(Debug)]
enum Machines {
    #[cfg(target_arch = "x86_64")]
    Ifma(Machine<Ifma>),
    Plain(Machine<Plain>),
}

/// Points that are multiplied again and again.
#[derive(Debug)]
pub struct Points(Prepared);

#[derive(Debug)]
enum Prepared {
    #[cfg(target_arch = "x86_64")]
    Ifma(Ifma, Bases<Ifma>),
    Plain(Plain, Bases<Plain>),
}

/// The fastest backend of this machine.
pub fn detect() -> &'static Native {
    static FOUND: OnceLock<Native> = OnceLock::new();
    FOUND.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        if let Some(backend) = Ifma::detect() {
            return Native(Machines::Ifma(Machine::new(backend)));
        }
        Native::plain()
    })
}

impl Native {
    /// What needs no instruction set, whatever the machine has.
    pub fn plain() -> Native {
        Native(Machines::Plain(Machine::new(PLAIN)))
    }

    /// The points of compressed ones, in order; `None` for what is no point. See [`crate::decompress`].
    pub fn decompress(&self, compressed: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Machines::Ifma(machine) => machine.decompress(compressed),
            Machines::Plain(machine) => machine.decompress(compressed),
        }
    }

    /// Adds `factor·values[i]` to `sums[i]`.
    ///
    /// # Panics
    /// If their lengths differ.
    pub fn add_multiples(&self, sums: &mut [Fp], factor: Fp, values: &[Fp]) {
        assert_eq!(sums.len(), values.len(), "as many sums as values");
        let kernel = AddMultiples {
            sums,
            factor,
            values,
        };
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Machines::Ifma(machine) => machine.backend.run(kernel),
            Machines::Plain(machine) => machine.backend.run(kernel),
        }
    }

    /// `Σ_o factors[o]·weights[o·width + i]` for every `i` below `width`, on this thread. No weight's absolute value may
    /// exceed `bound`. See [`crate::fold`].
    ///
    /// # Panics
    /// If there are not as many weights as factors times `width`.
    pub fn fold(&self, weights: &[i32], width: usize, bound: u32, factors: &[Fp]) -> Vec<Fp> {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Machines::Ifma(machine) => fold(machine.backend, weights, width, bound, factors),
            Machines::Plain(machine) => fold(machine.backend, weights, width, bound, factors),
        }
    }

    /// Prepares points; at most `2^29`.
    pub fn prepare(&self, points: &[EqAffine]) -> Points {
        Points(match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Machines::Ifma(machine) => {
                Prepared::Ifma(machine.backend, Bases::new(machine.backend, points))
            }
            Machines::Plain(machine) => {
                Prepared::Plain(machine.backend, Bases::new(machine.backend, points))
            }
        })
    }
}

impl Points {
    /// `Σ scalars[i]·points[i]`, on all threads of the current rayon pool. See [`crate::msm`].
    ///
    /// # Panics
    /// If there are more scalars than points.
    pub fn sum(&self, scalars: &[Fp]) -> Eq {
        match &self.0 {
            #[cfg(target_arch = "x86_64")]
            Prepared::Ifma(backend, bases) => sum(*backend, bases, scalars),
            Prepared::Plain(backend, bases) => sum(*backend, bases, scalars),
        }
    }
}

struct AddMultiples<'a> {
    sums: &'a mut [Fp],
    factor: Fp,
    values: &'a [Fp],
}

impl<B: Backend> Kernel<B> for AddMultiples<'_> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        B::Scalar::add_multiples(self.sums, self.factor, self.values);
    }
}

/// A backend, with constants for square roots once they are needed.
#[derive(Debug)]
struct Machine<B: Backend> {
    backend: B,
    roots: OnceLock<Decompress<B>>,
}

impl<B: Backend> Machine<B> {
    fn new(backend: B) -> Self {
        Machine {
            backend,
            roots: OnceLock::new(),
        }
    }

    fn decompress(&self, compressed: &[[u8; 32]]) -> Vec<Option<EqAffine>> {
        let roots = self.roots.get_or_init(|| Decompress::new(self.backend));
        roots.points(self.backend, compressed)
    }
}

fn sum<B: Backend>(backend: B, points: &Bases<B>, scalars: &[Fp]) -> Eq {
    let job = Job {
        parts: vec![Part {
            at: At::From(0),
            scalars: Scalars::Field(scalars),
        }],
    };
    let sum = msm_parallel(backend, points, &[job]).pop();
    sum.expect("one job has one sum")
}
