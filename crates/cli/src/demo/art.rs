//! Pictures of characters.

use crate::infer::largest;
use crate::ui::{self, Paint};

/// Width of the longest bar.
const BAR: usize = 32;

/// Grey levels in `0..=1`, row-major: two characters per pixel, one line per row.
pub fn draw(pixels: &[f32], width: usize) -> Vec<String> {
    let shade = |v: &f32| match (v.clamp(0.0, 1.0) * 4.99) as u32 {
        0 => "  ",
        1 => "░░",
        2 => "▒▒",
        3 => "▓▓",
        _ => "██",
    };
    pixels
        .chunks(width.max(1))
        .map(|row| row.iter().map(shade).collect())
        .collect()
}

/// One line per score, the largest one marked.
pub fn bars(scores: &[f32], class: usize, paint: Paint) -> Vec<String> {
    let top = largest(scores)
        .and_then(|at| scores.get(at))
        .copied()
        .unwrap_or(0.0);
    let low = scores.iter().copied().fold(top, f32::min);
    let line = |(i, &score): (usize, &f32)| {
        let part = if top > low {
            (score - low) / (top - low)
        } else {
            1.0
        };
        let text = format!("{i} {:>8}  {}", ui::real(f64::from(score)), bar(part));
        if i == class { paint.green(&text) } else { text }
    };
    scores.iter().enumerate().map(line).collect()
}

/// A bar in eighths of a character.
fn bar(part: f32) -> String {
    let eighths = (part.clamp(0.0, 1.0) * (BAR * 8) as f32).round().max(1.0) as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    format!("{}{}", "█".repeat(eighths / 8), rest[eighths % 8])
}

/// Two blocks, the lower one in the middle.
pub fn side_by_side(left: &[String], right: &[String]) -> Vec<String> {
    let height = left.len().max(right.len());
    let width = left.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let at = |block: &[String], row: usize| {
        let first = (height - block.len()) / 2;
        row.checked_sub(first)
            .and_then(|i| block.get(i))
            .cloned()
            .unwrap_or_default()
    };
    (0..height)
        .map(|row| {
            format!("{:<width$}    {}", at(left, row), at(right, row))
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures() {
        assert_eq!(draw(&[0.0, 1.0, 0.5, 7.0], 2), ["  ██", "▒▒██"]);
        assert_eq!(bar(1.0).chars().count(), BAR);
        assert_eq!([bar(0.0), bar(f32::NAN)].map(|b| b.chars().count()), [1, 1]);
        let block = |n: usize| vec!["x".to_owned(); n];
        assert_eq!(
            side_by_side(&block(1), &block(3)),
            ["     x", "x    x", "     x"]
        );
    }
}
