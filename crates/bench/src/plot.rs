//! Plots as SVG, for pages and as files of their own.
//!
//! Colours are variables of a style sheet ([`STYLE`]), so that a plot follows its page, or the reader's preference, in light and dark. Marks
//! differ in shape as well as in colour. Every mark has a `<title>` with its exact values, and the legend stands below the axes: nothing can
//! overlap with it.

mod rows;
mod scale;

pub use rows::{Row, Rows, Value};
pub use scale::{Scale, Span, Unit};

use crate::markup::{escape, shorten};
use std::fmt::Write;

/// Width of every plot, in its own units. At this width, letters have 12 of them.
pub const WIDTH: f64 = 420.0;
/// Characters of a legend's line that surely fit.
const LEGEND: usize = 60;
/// Height of a legend's line.
const LINE: f64 = 17.0;

/// The style of plots: classes, and colours in both themes. A page that holds plots includes it once.
pub const STYLE: &str = include_str!("plot/plot.css");

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it counts, without the unit: marks have one.
    pub label: String,
    /// Of its values.
    pub unit: Unit,
    /// How they are spread.
    pub scale: Scale,
}

impl Axis {
    /// A logarithmic axis.
    pub fn log(label: &str, unit: Unit) -> Axis {
        Axis {
            label: label.into(),
            unit,
            scale: Scale::Log,
        }
    }

    /// A linear axis from zero.
    pub fn linear(label: &str, unit: Unit) -> Axis {
        Axis {
            label: label.into(),
            unit,
            scale: Scale::Linear,
        }
    }
}

/// A measured point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Place.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Its quartiles, if known.
    pub spread: Option<(f64, f64)>,
    /// What was measured; shown with the values when pointed at.
    pub name: String,
}

/// Points of one kind.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// In the order of x.
    pub points: Vec<Point>,
    /// A fitted curve as points close to each other. Without one, points are joined.
    pub curve: Option<Vec<(f64, f64)>>,
}

/// A plot of points over two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    /// In a few words.
    pub title: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// Shown in this order.
    pub series: Vec<Series>,
    /// A horizontal line at a value, and its name.
    pub level: Option<(f64, String)>,
}

impl Plot {
    /// The SVG element; `None` if there is nothing to show.
    pub fn svg(&self) -> Option<String> {
        const TOP: f64 = 34.0;
        const BOTTOM: f64 = 254.0;
        let points = || self.series.iter().flat_map(|s| &s.points);
        let x = Span::around(self.x.scale, points().map(|p| p.x), 62.0, WIDTH - 14.0)?;
        let spread = points().filter_map(|p| p.spread).flat_map(|(l, h)| [l, h]);
        let level = self.level.iter().map(|l| l.0);
        let curves = self
            .series
            .iter()
            .flat_map(|s| s.curve.iter().flatten())
            .map(|p| p.1);
        let values = points()
            .map(|p| p.y)
            .chain(spread)
            .chain(level)
            .chain(curves);
        let y = Span::around(self.y.scale, values, BOTTOM, TOP)?;
        let lines = self.series.len() + usize::from(self.level.is_some());
        let mut svg = Svg::new(&self.title, BOTTOM + 44.0 + LINE * lines as f64);
        // There is no half thread.
        let whole = |tick: &f64| self.x.unit != Unit::Count || tick.fract() == 0.0;
        for tick in x.ticks(6).into_iter().filter(whole) {
            svg.line("grid", (x.at(tick), TOP), (x.at(tick), BOTTOM));
            svg.text(
                "tick",
                (x.at(tick), BOTTOM + 15.0),
                "middle",
                &self.x.unit.tick(tick),
            );
        }
        for tick in y.ticks(7) {
            svg.line("grid", (62.0, y.at(tick)), (WIDTH - 14.0, y.at(tick)));
            svg.text(
                "tick",
                (57.0, y.at(tick) + 4.0),
                "end",
                &self.y.unit.tick(tick),
            );
        }
        svg.line("axis", (62.0, BOTTOM), (WIDTH - 14.0, BOTTOM));
        svg.line("axis", (62.0, TOP), (62.0, BOTTOM));
        svg.text(
            "label",
            ((62.0 + WIDTH - 14.0) / 2.0, BOTTOM + 32.0),
            "middle",
            &self.x.label,
        );
        if let Some((value, _)) = self.level.as_ref().filter(|l| y.shows(l.0)) {
            svg.line("level", (62.0, y.at(*value)), (WIDTH - 14.0, y.at(*value)));
        }
        for (i, series) in self.series.iter().enumerate() {
            self.draw(&mut svg, i, series, &x, &y);
        }
        let mut at = BOTTOM + 52.0;
        for (i, series) in self.series.iter().enumerate() {
            svg.mark(i, (69.0 - 48.0, at - 4.0), "");
            svg.text(
                "legend",
                (34.0, at),
                "start",
                &shorten(&series.name, LEGEND),
            );
            at += LINE;
        }
        if let Some((_, name)) = &self.level {
            svg.line("level", (12.0, at - 4.0), (30.0, at - 4.0));
            svg.text("legend", (34.0, at), "start", &shorten(name, LEGEND));
        }
        Some(svg.end())
    }

    fn draw(&self, svg: &mut Svg, index: usize, series: &Series, x: &Span, y: &Span) {
        let shown = |a: f64, b: f64| x.shows(a) && y.shows(b);
        let path: Vec<(f64, f64)> = match &series.curve {
            Some(curve) => curve.clone(),
            None => series.points.iter().map(|p| (p.x, p.y)).collect(),
        };
        let path = path
            .into_iter()
            .filter(|p| shown(p.0, p.1))
            .map(|p| (x.at(p.0), y.at(p.1)));
        svg.path(index, series.curve.is_some(), &path.collect::<Vec<_>>());
        for point in series.points.iter().filter(|p| shown(p.x, p.y)) {
            if let Some((low, high)) = point.spread.filter(|s| y.shows(s.0) && y.shows(s.1)) {
                svg.whisker(
                    index,
                    (x.at(point.x), y.at(low)),
                    (x.at(point.x), y.at(high)),
                );
            }
            let mut title = format!(
                "{}: {} at {}",
                point.name,
                self.y.unit.value(point.y),
                self.x.unit.value(point.x)
            );
            if let Some((low, high)) = point.spread {
                let _ = write!(
                    title,
                    " (quartiles {} to {})",
                    self.y.unit.value(low),
                    self.y.unit.value(high)
                );
            }
            svg.mark(index, (x.at(point.x), y.at(point.y)), &title);
        }
    }
}

/// A plot as a file of its own, from an element made here: with its style inside.
pub fn file(svg: &str) -> String {
    // The first `>` closes the start tag: attributes are escaped.
    match svg.split_once('>') {
        Some((start, rest)) => format!("{start}>\n<style>\n{STYLE}</style>{rest}\n"),
        None => svg.to_owned(),
    }
}

/// An SVG element in the making.
struct Svg(String);

impl Svg {
    fn new(title: &str, height: f64) -> Svg {
        let label = escape(title);
        let mut svg = Svg(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"plot\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n"
        ));
        let _ = writeln!(
            svg.0,
            "<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>"
        );
        svg.text("title", (12.0, 20.0), "start", &shorten(title, 58));
        svg
    }

    fn line(&mut self, class: &str, a: (f64, f64), b: (f64, f64)) {
        let _ = writeln!(
            self.0,
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
            a.0, a.1, b.0, b.1
        );
    }

    fn text(&mut self, class: &str, at: (f64, f64), anchor: &str, text: &str) {
        let text = escape(text);
        let _ = writeln!(
            self.0,
            "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>",
            at.0, at.1
        );
    }

    fn path(&mut self, index: usize, dashed: bool, points: &[(f64, f64)]) {
        if points.len() < 2 {
            return;
        }
        let _ = write!(
            self.0,
            "<polyline class=\"path s{}{}\" points=\"",
            index % SHAPES,
            if dashed { " fit" } else { "" }
        );
        for (x, y) in points {
            let _ = write!(self.0, "{x:.1},{y:.1} ");
        }
        self.0.push_str("\"/>\n");
    }

    fn whisker(&mut self, index: usize, a: (f64, f64), b: (f64, f64)) {
        self.line(&format!("whisker s{}", index % SHAPES), a, b);
    }

    fn bar(&mut self, index: usize, from: (f64, f64), width: f64, height: f64, title: &str) {
        let (x, y, title) = (from.0, from.1, escape(title));
        let _ = writeln!(
            self.0,
            "<rect class=\"bar s{}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>",
            index % SHAPES
        );
    }

    /// A mark of the series' shape; with a title, if there is one.
    fn mark(&mut self, index: usize, at: (f64, f64), title: &str) {
        let (x, y) = at;
        let corners = |corners: &[(f64, f64)]| {
            let text: Vec<String> = corners
                .iter()
                .map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy))
                .collect();
            format!("polygon points=\"{}\"", text.join(" "))
        };
        let shape = match index % SHAPES {
            0 => format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.6\""),
            1 => corners(&[(-3.3, -3.3), (3.3, -3.3), (3.3, 3.3), (-3.3, 3.3)]),
            2 => corners(&[(0.0, -4.6), (4.4, 3.4), (-4.4, 3.4)]),
            3 => corners(&[(0.0, -4.8), (4.8, 0.0), (0.0, 4.8), (-4.8, 0.0)]),
            4 => corners(&[(0.0, 4.6), (4.4, -3.4), (-4.4, -3.4)]),
            _ => corners(&[(-4.6, -1.4), (4.6, -1.4), (4.6, 1.4), (-4.6, 1.4)]),
        };
        let name = shape.split(' ').next().unwrap_or("circle").to_owned();
        let inside = if title.is_empty() {
            String::new()
        } else {
            format!("<title>{}</title>", escape(title))
        };
        let _ = writeln!(
            self.0,
            "<{shape} class=\"mark s{}\">{inside}</{name}>",
            index % SHAPES
        );
    }

    fn end(mut self) -> String {
        self.0.push_str("</svg>");
        self.0
    }
}

/// Shapes and colours of series; further series begin again.
const SHAPES: usize = 6;

#[cfg(test)]
mod tests;
