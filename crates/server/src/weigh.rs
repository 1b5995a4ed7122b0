//! How much memory a JSON text takes when it is decoded, before it is.

use crate::ask::{ExpectedRun, VerifyRequest};

/// What an object takes at most, and with it the list that it is added to, which doubles when it grows, while the old half
/// is still there.
const OBJECT: usize = 3 * max(size_of::<VerifyRequest>(), size_of::<ExpectedRun>());
/// What a list takes at most besides its elements.
const LIST: usize = 3 * size_of::<Vec<u8>>() + 64;
/// What a number takes at most: four bytes, in a list that doubles.
const NUMBER: usize = 12;
/// What a string takes at most besides its bytes.
const STRING: usize = 3 * size_of::<String>() + 32;
/// Bytes of the escape for the character of one byte that needs most, `\u{7f}`.
const DELETE: usize = 6;
/// The same for each byte of any other character that is no ASCII, as in `\u{80}`.
const OTHER: usize = 3;

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

/// An upper bound in bytes for what a text is decoded into, what it says in base64 included. A text that is no JSON is not
/// decoded any further than to where that shows, so any number is right for it. Beyond `most` it is not read on.
pub fn decoded(text: &[u8], most: usize) -> usize {
    let mut total = 0usize;
    let mut rest = text.iter();
    while let Some(byte) = rest.next()
        && total <= most
    {
        total += match byte {
            b'{' => OBJECT,
            b'[' => LIST,
            b',' => NUMBER,
            b'"' => {
                let mut length = 0;
                loop {
                    match rest.next() {
                        None | Some(b'"') => break,
                        Some(b'\\') => {
                            rest.next();
                            length += 1;
                        }
                        // Where the string does not fit, the error quotes it, with escapes for what cannot be printed.
                        Some(0x7f) => length += DELETE - 1,
                        Some(0x80..) => length += OTHER - 1,
                        Some(_) => {}
                    }
                    length += 1;
                }
                // The text, and what it says in base64 or hexadecimal digits; or an error that quotes it, which doubles
                // when it grows.
                STRING + 2 * length
            }
            _ => 0,
        };
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 30;

    #[test]
    fn what_is_small_in_text_is_large_in_memory() {
        let empty = "{},".repeat(1000);
        assert!(decoded(empty.as_bytes(), MOST) > 1000 * size_of::<ExpectedRun>());
        assert!((OBJECT..3 * OBJECT).contains(&decoded(empty.as_bytes(), OBJECT)));
        assert_eq!(decoded(b"\"{[,\\\"{[,\"", MOST), STRING + 2 * 8);
        assert_eq!(decoded(b"\"{[,\\", MOST), STRING + 2 * 5);
        assert_eq!(decoded(b"[1,2]", MOST), LIST + NUMBER);
        // What an error says of a string.
        for text in ["\u{7f}", "\u{80}", "é", "\u{200b}", "\u{e0001}"] {
            let text = text.repeat(1000);
            let weight = decoded(format!("\"{text}\"").as_bytes(), MOST);
            let error = serde_json::from_str::<bool>(&format!("\"{text}\""));
            assert!(weight > 2 * error.unwrap_err().to_string().len() - 200);
        }
        let proof = "A".repeat(1 << 20);
        assert!(decoded(format!("{{\"proof\": \"{proof}\"}}").as_bytes(), MOST) < 3 << 20);
    }
}
