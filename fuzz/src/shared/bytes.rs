//! Random choices, and changes of bytes and text.

use ff::PrimeField;
use group::{Curve, Group, GroupEncoding};
use pasta_curves::{EqAffine, Fp};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// Where an execution's choices come from.
pub type Random = ChaCha8Rng;

/// The random values of one execution.
pub fn random(seed: u64, number: u64) -> Random {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A number below `limit`.
pub fn below(rng: &mut impl Rng, limit: usize) -> usize {
    (rng.next_u64() % limit.max(1) as u64) as usize
}

/// Changes bytes; `other` are bytes of something similar.
pub fn change(rng: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = below(rng, bytes.len());
    let len = bytes.len();
    match below(rng, 13) {
        0 | 1 if len > 0 => bytes[at] ^= 1 << below(rng, 8),
        2 if len > 0 => bytes[at] = rng.next_u64() as u8,
        3 => bytes.truncate(at),
        4 => bytes.insert(at.min(len), rng.next_u64() as u8),
        5 if len > 0 => drop(bytes.remove(at)),
        // A length or another integer that is far too large, or zero.
        6 if len >= at + 4 => {
            let value = [0, u32::MAX, 1, 1 << 31][below(rng, 4)];
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        // A little more or less.
        7 if len >= at + 4 => {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            let value = u32::from_le_bytes(word)
                .wrapping_add(rng.next_u32() % 7)
                .wrapping_sub(3);
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        // Valid points and scalars at places where one may stand; proofs end in a list of them.
        8 if len >= 32 => {
            let at = len - 32 * (1 + below(rng, len / 32));
            let scalar = Fp::from(rng.next_u64()).to_repr();
            bytes[at..at + 32].copy_from_slice(scalar.as_ref());
        }
        9 if len >= 32 => {
            let at = len - 32 * (1 + below(rng, len / 32));
            bytes[at..at + 32].copy_from_slice(small_point(rng).to_bytes().as_ref());
        }
        10 if len >= 64 => {
            let (from, to) = (below(rng, len / 32), below(rng, len / 32));
            let (from, to) = (len - 32 * (1 + from), len - 32 * (1 + to));
            bytes.copy_within(from..from + 32, to);
        }
        11 if len >= 2 => {
            let count = 1 + below(rng, 64.min(len - at));
            let from = below(rng, other.len().saturating_sub(count));
            if let Some(piece) = other.get(from..from + count) {
                bytes[at..at + count].copy_from_slice(piece);
            }
        }
        _ => {
            let count = below(rng, 64.min(len - at) + 1);
            rng.fill_bytes(&mut bytes[at..at + count]);
        }
    }
}

/// Changes JSON: digits and names mostly, so that some of it still is JSON.
pub fn change_text(rng: &mut Random, text: &mut Vec<u8>, other: &[u8]) {
    const PIECES: [&str; 12] = [
        "\"", "{", "}", "[", "]", ",", ":", "null", "-1", "65536", "1e9", "\\u0000",
    ];
    let at = below(rng, text.len());
    match below(rng, 6) {
        0 => change(rng, text, other),
        1 => {
            let piece = PIECES[below(rng, PIECES.len())];
            text.splice(at..at, piece.bytes());
        }
        2 => {
            let end = (at + below(rng, 12)).min(text.len());
            text.drain(at..end);
        }
        _ => {
            // The next digit becomes another one.
            let digit = text[at.min(text.len())..]
                .iter()
                .position(u8::is_ascii_hexdigit);
            if let Some(offset) = digit {
                text[at + offset] = b"0123456789abcdefABCDEF"[below(rng, 22)];
            }
        }
    }
}

/// A point whose multiple is known.
pub fn small_point(rng: &mut Random) -> EqAffine {
    (pasta_curves::Eq::generator() * Fp::from(rng.next_u64())).to_affine()
}
