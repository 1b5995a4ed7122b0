//! The arithmetic that a proof spends its time in, over the Pasta cycle.
//!
//! ```text
//! vector      LANES field elements at a time: portable, narrow (WebAssembly),
//!             AVX-512 IFMA                                        (the only module with `unsafe`)
//! msm         multi-scalar multiplication, collapse of generators         (over vectors)
//! decompress  square roots: points from their compressed form             (over vectors)
//! fft         transforms between coefficients and cosets                  (over vectors)
//! fold        small-integer weights times field elements                  (over vectors)
//! program     polynomials over columns                                    (over vectors)
//! native      what a verifier uses of them, without generics
//! ```
//!
//! Everything above [`vector`] is written once, generic over [`vector::Backend`]. A backend is chosen at run time: see
//! [`vector::Backend::run`].

pub mod collapse;
pub mod curve;
pub mod decompress;
pub mod fft;
pub mod fold;
pub mod msm;
pub mod native;
pub mod program;
pub mod vector;
