//! The elements of the page. Text that is handed in is escaped here and nowhere else.

use crate::markup::escape;
use crate::plot;
use std::fmt::Write;

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    text: String,
    small: String,
    number: bool,
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            ..Cell::default()
        }
    }

    /// A number, with its unit.
    pub fn number(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            number: true,
            ..Cell::default()
        }
    }

    /// With something in small letters below.
    pub fn with(mut self, small: impl Into<String>) -> Cell {
        self.small = small.into();
        self
    }

    /// A number, or a dash.
    pub fn maybe(text: Option<String>) -> Cell {
        Cell::number(text.unwrap_or_else(|| "–".into()))
    }
}

/// A page in the making.
pub struct Page {
    title: String,
    contents: String,
    body: String,
    open: bool,
}

impl Page {
    /// An empty page.
    pub fn new(title: &str) -> Page {
        Page {
            title: escape(title),
            contents: String::new(),
            body: String::new(),
            open: false,
        }
    }

    /// Begins a section; `id` is of letters, digits and hyphens.
    pub fn section(&mut self, id: &str, title: &str) {
        let title = escape(title);
        self.close();
        let _ = writeln!(
            self.contents,
            "<li><a href=\"#{id}\"><bdi>{title}</bdi></a></li>"
        );
        let _ = writeln!(
            self.body,
            "<section id=\"{id}\">\n<h2><bdi>{title}</bdi></h2>"
        );
        self.open = true;
    }

    fn close(&mut self) {
        if self.open {
            self.body.push_str("</section>\n");
        }
        self.open = false;
    }

    /// A heading within a section.
    pub fn heading(&mut self, title: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", escape(title));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
    }

    /// A paragraph that stands out.
    pub fn warning(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p class=\"warning\">{}</p>", escape(text));
    }

    /// Something to be typed.
    pub fn code(&mut self, text: &str) {
        let _ = writeln!(
            self.body,
            "<pre tabindex=\"0\"><code>{}</code></pre>",
            escape(text)
        );
    }

    /// Sentences below each other.
    pub fn list(&mut self, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.body.push_str("<ul>\n");
        for item in items {
            let _ = writeln!(self.body, "<li>{}</li>", escape(item));
        }
        self.body.push_str("</ul>\n");
    }

    /// Names and values.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        if facts.is_empty() {
            return;
        }
        self.body.push_str("<dl>\n");
        for (name, value) in facts {
            let _ = writeln!(
                self.body,
                "<div><dt>{}</dt><dd><bdi>{}</bdi></dd></div>",
                escape(name),
                escape(value)
            );
        }
        self.body.push_str("</dl>\n");
    }

    /// A table; nothing without rows. The first column names the rows.
    pub fn table(&mut self, caption: &str, columns: &[&str], rows: &[Vec<Cell>]) {
        if rows.is_empty() {
            return;
        }
        let caption = escape(caption);
        let _ = writeln!(
            self.body,
            "<p class=\"caption\">{caption}</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n<table>"
        );
        let numeric = |column: usize| rows.iter().any(|r| r.get(column).is_some_and(|c| c.number));
        self.body.push_str("<thead><tr>");
        for (i, column) in columns.iter().enumerate() {
            let class = if numeric(i) { " class=\"number\"" } else { "" };
            let _ = write!(
                self.body,
                "<th scope=\"col\"{class}>{}</th>",
                escape(column)
            );
        }
        self.body.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.body.push_str("<tr>");
            for (i, cell) in row.iter().enumerate() {
                let class = if cell.number { " class=\"number\"" } else { "" };
                let (start, end) = if i == 0 {
                    ("th scope=\"row\"", "th")
                } else {
                    ("td", "td")
                };
                let _ = write!(
                    self.body,
                    "<{start}{class}><bdi>{}</bdi>",
                    escape(&cell.text)
                );
                if !cell.small.is_empty() {
                    let _ = write!(self.body, "<small>{}</small>", escape(&cell.small));
                }
                let _ = write!(self.body, "</{end}>");
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</tbody>\n</table>\n</div>\n");
    }

    /// Plots beside each other where there is room. Takes what [`plot`] makes, which is markup already.
    pub fn plots(&mut self, plots: impl IntoIterator<Item = Option<String>>) {
        let mut plots = plots.into_iter().flatten().peekable();
        if plots.peek().is_none() {
            return;
        }
        self.body.push_str("<div class=\"plots\">\n");
        for svg in plots {
            let _ = writeln!(self.body, "<figure>{svg}</figure>");
        }
        self.body.push_str("</div>\n");
    }

    /// The document.
    pub fn finish(mut self) -> String {
        self.close();
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n<style>\n{STYLE}{plots}</style>\n</head>\n<body>\n<main>\n<h1><bdi>{title}</bdi></h1>\n\
             <nav aria-label=\"Contents\"><ul>\n{contents}</ul></nav>\n{body}</main>\n</body>\n</html>\n",
            title = self.title,
            plots = plot::STYLE,
            contents = self.contents,
            body = self.body,
        )
    }
}

const STYLE: &str = include_str!("page.css");
