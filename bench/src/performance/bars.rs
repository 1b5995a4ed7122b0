//! Horizontal bars with their values, as SVG: for images in Markdown, where labels are long and there is no script. They
//! take the colours of the reader's scheme.

use std::fmt::Write as _;

const WIDTH: f64 = 600.0;
/// Where bars begin.
const LEFT: f64 = 150.0;
/// What is kept free for the values behind bars.
const RIGHT: f64 = 76.0;
const BAR: f64 = 15.0;
const GAP: f64 = 10.0;
const LINE: f64 = 20.0;
/// About, of a letter at the size that is used.
const LETTER: f64 = 6.6;

/// Colours that people who see few of them can tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c",
];

/// One bar: parts of it by series, and what stands behind it.
pub struct Bar {
    /// Series and value.
    pub parts: Vec<(usize, f64)>,
    /// The value, for people.
    pub text: String,
}

/// Bars that belong together.
pub struct Row {
    /// What they are of.
    pub label: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// A plot.
pub struct Plot<'a> {
    /// What it shows.
    pub title: &'a str,
    /// What values are, with their unit.
    pub axis: &'a str,
    /// Names of series.
    pub series: &'a [&'a str],
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// Distance of the axis' marks: 1, 2 or 5 times a power of ten, about five marks.
fn step(max: f64) -> f64 {
    let rough = max / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps.iter().find(|s| *s * power >= rough);
    fits.unwrap_or(&10.0) * power
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

impl Plot<'_> {
    /// The image.
    pub fn to_svg(&self) -> String {
        let bars = self.rows.iter().flat_map(|r| &r.bars);
        let longest = bars
            .map(|b| b.parts.iter().map(|p| p.1).sum())
            .fold(0.0, f64::max);
        let longest = if longest > 0.0 { longest } else { 1.0 };
        let scale = (WIDTH - LEFT - RIGHT) / longest;
        let mut body = String::new();
        let mut y = 24.0;
        let _ = writeln!(
            body,
            r#"<text x="8" y="{y}" class="title">{}</text>"#,
            escape(self.title)
        );
        y += 8.0;
        y = self.legend(&mut body, y);
        let top = y;
        let mut drawn = String::new();
        for row in &self.rows {
            y += GAP;
            let middle = y + BAR * row.bars.len() as f64 / 2.0 + 4.5;
            let label = escape(&row.label);
            let _ = writeln!(
                drawn,
                r#"<text x="{}" y="{middle}" class="end">{label}</text>"#,
                LEFT - 8.0
            );
            for bar in &row.bars {
                let mut x = LEFT;
                for (series, value) in &bar.parts {
                    let (width, colour) = (value * scale, COLOURS[series % COLOURS.len()]);
                    let _ = writeln!(
                        drawn,
                        r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{}" fill="{colour}"/>"#,
                        BAR - 2.0
                    );
                    x += width;
                }
                let (x, y_text, text) = (x + 5.0, y + BAR - 4.0, escape(&bar.text));
                let _ = writeln!(drawn, r#"<text x="{x:.1}" y="{y_text:.1}">{text}</text>"#);
                y += BAR;
            }
        }
        y += GAP;
        let step = step(longest);
        let places = (-step.log10().floor()).max(0.0) as usize;
        for mark in (0..)
            .map(|i| f64::from(i) * step)
            .take_while(|m| *m <= longest)
        {
            let x = LEFT + mark * scale;
            let _ = writeln!(
                body,
                r#"<line x1="{x:.1}" y1="{top:.1}" x2="{x:.1}" y2="{y:.1}"/><text x="{x:.1}" y="{:.1}" class="mid">{mark:.places$}</text>"#,
                y + 16.0
            );
        }
        let _ = writeln!(
            drawn,
            r#"<text x="{:.1}" y="{:.1}" class="mid">{}</text>"#,
            LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
            y + 34.0,
            escape(self.axis)
        );
        let height = y + 44.0;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{}">
<style>text{{font:13px system-ui,sans-serif;fill:#222}}.title{{font-weight:600;font-size:15px}}.end{{text-anchor:end}}.mid{{text-anchor:middle}}line{{stroke:#ccc}}.back{{fill:#fff}}
@media(prefers-color-scheme:dark){{text{{fill:#ddd}}line{{stroke:#444}}.back{{fill:#0d1117}}}}</style>
<rect class="back" width="100%" height="100%"/>
{body}{drawn}</svg>
"#,
            escape(self.title).replace('"', "&quot;")
        )
    }

    /// Names of series, in as many lines as they need; returns where they end.
    fn legend(&self, out: &mut String, mut y: f64) -> f64 {
        if self.series.len() < 2 {
            return y;
        }
        let mut x = 8.0;
        y += LINE;
        for (name, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let width = 34.0 + LETTER * name.chars().count() as f64;
            if x + width > WIDTH && x > 8.0 {
                (x, y) = (8.0, y + LINE);
            }
            let _ = writeln!(
                out,
                r#"<rect x="{x:.1}" y="{:.1}" width="12" height="12" fill="{colour}"/><text x="{:.1}" y="{y:.1}">{}</text>"#,
                y - 11.0,
                x + 17.0,
                escape(name)
            );
            x += width;
        }
        y + 8.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        for (max, wanted) in [
            (1.0, 0.2),
            (7.3, 2.0),
            (40.0, 10.0),
            (0.013, 0.005),
            (99.0, 20.0),
        ] {
            assert!(
                (step(max) / wanted - 1.0).abs() < 1e-9,
                "{max}: {}",
                step(max)
            );
            assert!((3.0..=6.0).contains(&(max / step(max)).ceil()), "{max}");
        }
    }

    #[test]
    fn names_cannot_break_out() {
        let row = Row {
            label: "<script>&".into(),
            bars: vec![Bar {
                parts: vec![(0, 1.0), (1, 3.0)],
                text: "4 ms".into(),
            }],
        };
        let plot = Plot {
            title: "a \"b\" <c>",
            axis: "milliseconds",
            series: &["one", "two"],
            rows: vec![row],
        };
        let svg = plot.to_svg();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&amp;"));
        assert!(svg.contains("aria-label=\"a &quot;b&quot; &lt;c&gt;\""));
        // The second part begins where the first ends and is three times as long.
        let one = (WIDTH - LEFT - RIGHT) / 4.0;
        assert!(svg.contains(&format!("x=\"{:.1}\" y=", LEFT + one)));
        assert!(svg.contains(&format!("width=\"{:.1}\"", 3.0 * one)));
    }
}
