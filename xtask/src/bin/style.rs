//! Prints the figures of style: how long functions are, what stands between the lines, how wide lines are.
//!
//! ```text
//! cargo xtask style -- [folder of a repository]
//! ```
//!
//! Production code alone: what `cfg(test)` leaves out, and folders of tests, benchmarks, examples, and fuzzers, are not
//! counted. Prose is what Markdown files at the top and in `docs/` say outside of code and tables, without the targets of links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use syn::spanned::Spanned;
use syn::visit::Visit;

type Failure = Box<dyn std::error::Error>;

/// Widest line.
const COLUMNS: usize = 120;
/// Folders whose code is not production code.
const ASIDE: [&str; 5] = ["tests", "benches", "examples", "fuzz", "xtask"];

/// A function of the code.
struct Function {
    place: String,
    lines: usize,
    depth: usize,
}

/// What is counted.
#[derive(Default)]
struct Figures {
    functions: Vec<Function>,
    lines: usize,
    code: usize,
    wide: usize,
    doc: usize,
    inline: usize,
    closures: usize,
    shadows: usize,
    prose: usize,
    wide_prose: usize,
}

fn main() -> Result<(), Failure> {
    let root = std::env::args().nth(1).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
        PathBuf::from,
    );
    let files = tracked(&root)?;
    let mut figures = Figures::default();
    for file in production(&root, &files)? {
        let text = std::fs::read_to_string(root.join(&file))?;
        let syntax = syn::parse_file(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        let mut reader = Reader {
            file: &file,
            figures: &mut figures,
            tests: BTreeSet::new(),
        };
        reader.visit_file(&syntax);
        let tests = reader.tests;
        figures.read_lines(&text, &tests);
    }
    for file in files.iter().filter(|f| is_prose(f)) {
        figures.read_prose(&std::fs::read_to_string(root.join(file))?);
    }
    figures.print();
    Ok(())
}

/// The files that git knows, relative to the repository.
fn tracked(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()?;
    if !output.status.success() {
        return Err(format!("{}: no git repository", root.display()).into());
    }
    let names = String::from_utf8(output.stdout)?;
    let names = names.split('\0').filter(|n| !n.is_empty());
    Ok(names.map(PathBuf::from).collect())
}

/// Rust files that are neither aside nor modules under `cfg(test)`.
fn production(root: &Path, files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut kept = Vec::new();
    let mut test_modules = Vec::new();
    for file in files {
        let aside = file
            .components()
            .any(|c| ASIDE.iter().any(|a| c.as_os_str() == *a));
        if aside || file.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(root.join(file))?;
        let syntax = syn::parse_file(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        let folder = module_folder(file);
        for item in &syntax.items {
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
                && is_test(&module.attrs)
            {
                test_modules.push(folder.join(module.ident.to_string()));
            }
        }
        kept.push(file.clone());
    }
    kept.retain(|file| {
        let stem = file.with_extension("");
        !test_modules.iter().any(|module| stem.starts_with(module))
    });
    Ok(kept)
}

/// Where the modules lie that a file declares.
fn module_folder(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    match file.file_stem().and_then(|s| s.to_str()) {
        Some("lib" | "main" | "mod") | None => folder,
        Some(name) => folder.join(name),
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return attribute.path().is_ident("test");
        };
        list.path.is_ident("cfg")
            && list
                .tokens
                .to_string()
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "test")
    })
}

/// Markdown at the top or directly in `docs`.
fn is_prose(file: &Path) -> bool {
    let folder = file.parent().unwrap_or(Path::new(""));
    file.extension().is_some_and(|e| e == "md")
        && (folder == Path::new("") || folder == Path::new("docs"))
}

/// Walks through one file.
struct Reader<'a> {
    file: &'a Path,
    figures: &'a mut Figures,
    /// Lines, from 1, under `cfg(test)`.
    tests: BTreeSet<usize>,
}

impl Reader<'_> {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let last = block.span().end().line;
        let mut depth = Depth::default();
        depth.visit_block(block);
        self.figures.functions.push(Function {
            place: format!("{}:{first} {}", self.file.display(), signature.ident),
            lines: last + 1 - first,
            depth: depth.deepest,
        });
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            _ => return syn::visit::visit_item(self, item),
        };
        if is_test(attributes) {
            let span = item.span();
            self.tests.extend(span.start().line..=span.end().line);
        } else {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if is_test(&item.attrs) {
            let span = item.span();
            self.tests.extend(span.start().line..=span.end().line);
            return;
        }
        self.function(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        let mut names = BTreeSet::new();
        for statement in &block.stmts {
            let syn::Stmt::Local(local) = statement else {
                continue;
            };
            let Some(name) = bound(&local.pat) else {
                continue;
            };
            let value = local.init.as_ref().map(|init| &*init.expr);
            self.figures.closures += usize::from(matches!(value, Some(syn::Expr::Closure(_))));
            self.figures.shadows += usize::from(!names.insert(name));
        }
        syn::visit::visit_block(self, block);
    }
}

/// The name that a pattern of one name binds.
fn bound(pattern: &syn::Pat) -> Option<String> {
    match pattern {
        syn::Pat::Ident(pattern) => Some(pattern.ident.to_string()),
        syn::Pat::Type(pattern) => bound(&pattern.pat),
        _ => None,
    }
}

/// How deep blocks and matches stand in each other.
#[derive(Default)]
struct Depth {
    here: usize,
    deepest: usize,
}

impl<'ast> Visit<'ast> for Depth {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.here += 1;
        self.deepest = self.deepest.max(self.here);
        syn::visit::visit_block(self, block);
        self.here -= 1;
    }

    fn visit_expr_match(&mut self, expression: &'ast syn::ExprMatch) {
        self.here += 1;
        self.deepest = self.deepest.max(self.here);
        syn::visit::visit_expr_match(self, expression);
        self.here -= 1;
    }

    // Functions within functions are counted by themselves.
    fn visit_item(&mut self, _: &'ast syn::Item) {}
}

impl Figures {
    fn read_lines(&mut self, text: &str, tests: &BTreeSet<usize>) {
        for (number, line) in text.lines().enumerate() {
            let start = line.trim_start();
            if start.is_empty() || tests.contains(&(number + 1)) {
                continue;
            }
            self.lines += 1;
            if start.starts_with("///") || start.starts_with("//!") {
                self.doc += 1;
            } else if start.starts_with("//") {
                self.inline += 1;
            } else {
                self.code += 1;
                self.wide += usize::from(line.chars().count() > COLUMNS);
            }
        }
    }

    fn read_prose(&mut self, text: &str) {
        let mut fenced = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                continue;
            }
            if fenced || line.trim().is_empty() || line.trim_start().starts_with('|') {
                continue;
            }
            self.prose += 1;
            self.wide_prose += usize::from(without_targets(line).chars().count() > COLUMNS);
        }
    }

    fn print(&mut self) {
        self.functions.sort_by_key(|f| f.lines);
        let count = self.functions.len();
        let lines = |share: f64| {
            let at = (share * count as f64).ceil() as usize;
            let function = self.functions.get(at.max(1) - 1);
            function.map_or(0, |f| f.lines)
        };
        let over = |limit: usize| self.functions.iter().filter(|f| f.lines > limit).count();
        let deep = self.functions.iter().filter(|f| f.depth > 6).count();
        let share = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
        let each_thousand = |part: usize| 1000.0 * part as f64 / self.code.max(1) as f64;
        println!("| production code | |\n|---|---|");
        println!("| lines of code | {} |", self.code);
        println!(
            "| functions, lines p50 / p90 / p99, max | {count}, {} / {} / {}, {} |",
            lines(0.5),
            lines(0.9),
            lines(0.99),
            lines(1.0)
        );
        println!("| functions > 80 lines | {:.1} % |", share(over(80), count));
        println!("| functions > 100 lines | {} |", over(100));
        println!("| functions nested deeper than 6 | {deep} |");
        println!(
            "| named closures per 1,000 lines | {:.1} |",
            each_thousand(self.closures)
        );
        println!(
            "| names bound again in one block, per 1,000 lines | {:.1} |",
            each_thousand(self.shadows)
        );
        println!(
            "| code lines > {COLUMNS} columns | {:.2} % |",
            share(self.wide, self.code)
        );
        println!(
            "| doc / inline comments | {:.1} % / {:.1} % |",
            share(self.doc, self.lines),
            share(self.inline, self.lines)
        );
        println!(
            "| prose lines > {COLUMNS} columns | {:.1} % |",
            share(self.wide_prose, self.prose)
        );
        println!("\nLongest, and deepest:\n");
        for function in self.functions.iter().rev().take(10) {
            println!("{:4} lines  {}", function.lines, function.place);
        }
        self.functions.sort_by_key(|f| f.depth);
        for function in self.functions.iter().rev().take(10) {
            println!("{:4} deep   {}", function.depth, function.place);
        }
    }
}

/// A line as it is read: links without what they point at.
fn without_targets(line: &str) -> String {
    let mut shown = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("](") {
        shown.push_str(&rest[..=at]);
        rest = &rest[at + 2..];
        rest = rest.find(')').map_or("", |end| &rest[end + 1..]);
    }
    shown + rest
}
