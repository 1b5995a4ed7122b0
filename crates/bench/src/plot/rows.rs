//! Plots of named things below each other: bars from zero, or dots where values differ by orders of magnitude.

use super::{Axis, LINE, Scale, Span, Svg, WIDTH};
use crate::markup::shorten;

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// Shown.
    pub value: f64,
    /// Its quartiles, if known.
    pub spread: Option<(f64, f64)>,
}

/// A named thing.
#[derive(Clone, Debug)]
pub struct Row {
    /// At the left.
    pub label: String,
    /// One per series of [`Rows`]; `None` where there is no value.
    pub values: Vec<Option<Value>>,
}

/// Rows. A linear axis makes bars, a logarithmic one dots: the length of a bar without a zero would mean nothing.
#[derive(Clone, Debug)]
pub struct Rows {
    /// In a few words.
    pub title: String,
    /// Of all values.
    pub axis: Axis,
    /// What the values of each row are, for the legend.
    pub series: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

impl Rows {
    /// The SVG element; `None` if there is nothing to show.
    pub fn svg(&self) -> Option<String> {
        const LEFT: f64 = 150.0;
        // Values stand right of their marks: room for them at the end.
        const RIGHT: f64 = WIDTH - 68.0;
        const TOP: f64 = 36.0;
        const STEP: f64 = 14.0;
        let height = |row: &Row| STEP * row.values.len().max(1) as f64 + 8.0;
        let all = || self.rows.iter().flat_map(|r| r.values.iter().flatten());
        let spread = all().filter_map(|v| v.spread).flat_map(|(l, h)| [l, h]);
        let span = Span::around(
            self.axis.scale,
            all().map(|v| v.value).chain(spread),
            LEFT,
            RIGHT,
        )?;
        let bottom = TOP + self.rows.iter().map(height).sum::<f64>();
        let legend = if self.series.len() > 1 {
            LINE * self.series.len() as f64 + 6.0
        } else {
            0.0
        };
        let mut svg = Svg::new(&self.title, bottom + 42.0 + legend);
        let most = if self.axis.scale == Scale::Log { 3 } else { 4 };
        for tick in span.ticks(most) {
            svg.line("grid", (span.at(tick), TOP - 4.0), (span.at(tick), bottom));
            svg.text(
                "tick",
                (span.at(tick), bottom + 14.0),
                "middle",
                &self.axis.unit.tick(tick),
            );
        }
        svg.line("axis", (LEFT, bottom), (RIGHT, bottom));
        svg.text(
            "label",
            ((LEFT + RIGHT) / 2.0, bottom + 31.0),
            "middle",
            &self.axis.label,
        );
        let mut top = TOP;
        for row in &self.rows {
            svg.text(
                "row",
                (LEFT - 8.0, top + height(row) / 2.0 + 1.0),
                "end",
                &shorten(&row.label, 20),
            );
            for (i, value) in row.values.iter().enumerate() {
                let middle = top + STEP * (i as f64 + 0.5) + 1.0;
                if let Some(value) = value.filter(|v| span.shows(v.value)) {
                    self.draw(&mut svg, i, &row.label, value, &span, middle);
                }
            }
            top += height(row);
        }
        if self.series.len() > 1 {
            let mut at = bottom + 52.0;
            for (i, name) in self.series.iter().enumerate() {
                svg.mark(i, (21.0, at - 4.0), "");
                svg.text("legend", (34.0, at), "start", &shorten(name, super::LEGEND));
                at += LINE;
            }
        }
        Some(svg.end())
    }

    fn draw(
        &self,
        svg: &mut Svg,
        index: usize,
        label: &str,
        value: Value,
        span: &Span,
        middle: f64,
    ) {
        let shown = self.axis.unit.value(value.value);
        let what = self.series.get(index).map_or("", |s| s.as_str());
        let mut title = format!("{label}, {what}: {shown}");
        let mut end = span.at(value.value);
        if let Some((low, high)) = value.spread {
            title.push_str(&format!(
                " (quartiles {} to {})",
                self.axis.unit.value(low),
                self.axis.unit.value(high)
            ));
            end = end.max(span.at(high));
        }
        match self.axis.scale {
            Scale::Linear => {
                let zero = span.at(0.0);
                svg.bar(
                    index,
                    (zero, middle - 5.0),
                    (span.at(value.value) - zero).max(0.5),
                    10.0,
                    &title,
                );
            }
            Scale::Log => svg.mark(index, (span.at(value.value), middle), &title),
        }
        if let Some((low, high)) = value.spread.filter(|s| span.shows(s.0) && span.shows(s.1)) {
            let class = if self.axis.scale == Scale::Linear {
                "axis".into()
            } else {
                format!("whisker s{}", index % super::SHAPES)
            };
            svg.line(&class, (span.at(low), middle), (span.at(high), middle));
        }
        svg.text("value", (end + 8.0, middle + 4.0), "start", &shown);
    }
}
