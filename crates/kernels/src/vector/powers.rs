//! Powers of two modulo a field's modulus, computed at compile time.

/// `a − b` for `a ≥ b`.
pub(super) const fn minus<const N: usize>(a: [u64; N], b: [u64; N], bits: u32) -> [u64; N] {
    let mut out = [0; N];
    let mut borrow = 0i128;
    let mut i = 0;
    while i < N {
        let d = a[i] as i128 - b[i] as i128 + borrow;
        borrow = d >> bits;
        out[i] = (d - (borrow << bits)) as u64;
        i += 1;
    }
    out
}

const fn at_least(a: [u64; 4], b: [u64; 4]) -> bool {
    let mut i = 4;
    while i > 0 {
        i -= 1;
        if a[i] != b[i] {
            return a[i] > b[i];
        }
    }
    true
}

/// `2^e mod p` for a modulus below `2^255`.
pub(super) const fn power_of_two(e: u32, p: [u64; 4]) -> [u64; 4] {
    let mut v = [1, 0, 0, 0];
    let mut i = 0;
    while i < e {
        v = [
            v[0] << 1,
            v[1] << 1 | v[0] >> 63,
            v[2] << 1 | v[1] >> 63,
            v[3] << 1 | v[2] >> 63,
        ];
        if at_least(v, p) {
            v = minus(v, p, 64);
        }
        i += 1;
    }
    v
}
