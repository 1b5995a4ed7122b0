//! From a crate's source to the items that its users can name.

use super::Failure;
use super::print::{self, Owner};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Item, UseTree, Visibility};

/// A module: its items, and whether the one above shows it.
struct Module {
    public: bool,
    items: Vec<Item>,
}

/// A crate's modules by path. The root's path has the name of the crate alone.
pub struct Crate {
    name: String,
    modules: BTreeMap<Vec<String>, Module>,
}

impl Crate {
    /// Reads `lib.rs` and every module that it leads to.
    pub fn read(name: &str, file: &Path) -> Result<Crate, Failure> {
        let mut read = Crate {
            name: name.into(),
            modules: BTreeMap::new(),
        };
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        read.add(vec![name.into()], true, file, &folder)?;
        Ok(read)
    }

    fn add(
        &mut self,
        path: Vec<String>,
        public: bool,
        file: &Path,
        folder: &Path,
    ) -> Result<(), Failure> {
        let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        let syntax = syn::parse_file(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        self.add_items(path, public, syntax.items, folder)
    }

    fn add_items(
        &mut self,
        path: Vec<String>,
        public: bool,
        items: Vec<Item>,
        folder: &Path,
    ) -> Result<(), Failure> {
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if print::is_hidden(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = [path.as_slice(), std::slice::from_ref(&name)].concat();
            let public = matches!(module.vis, Visibility::Public(_));
            let inner = folder.join(&name);
            match &module.content {
                Some((_, items)) => self.add_items(below, public, items.clone(), &inner)?,
                None => {
                    let files = [folder.join(format!("{name}.rs")), inner.join("mod.rs")];
                    let file = files.into_iter().find(|f| f.is_file());
                    let file: PathBuf = file.ok_or_else(|| format!("no file of {name}"))?;
                    self.add(below, public, &file, &inner)?;
                }
            }
        }
        self.modules.insert(path, Module { public, items });
        Ok(())
    }

    /// A line for every item that can be named from outside, by the path under which it can.
    pub fn public_items(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut seen = BTreeSet::new();
        self.show_module(
            std::slice::from_ref(&self.name),
            std::slice::from_ref(&self.name),
            &mut seen,
            &mut lines,
        );
        lines
    }

    /// Shows what is in module `at` as parts of `shown`.
    fn show_module(
        &self,
        at: &[String],
        shown: &[String],
        seen: &mut BTreeSet<(Vec<String>, Vec<String>)>,
        lines: &mut Vec<String>,
    ) {
        if !seen.insert((at.to_vec(), shown.to_vec())) {
            return;
        }
        let Some(module) = self.modules.get(at) else {
            return;
        };
        for item in &module.items {
            match item {
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    let below = [at, std::slice::from_ref(&name)].concat();
                    if self.modules.get(&below).is_some_and(|m| m.public) {
                        let shown = [shown, std::slice::from_ref(&name)].concat();
                        lines.push(format!("pub mod {}", shown.join("::")));
                        self.show_module(&below, &shown, seen, lines);
                    }
                }
                Item::Use(item)
                    if matches!(item.vis, Visibility::Public(_))
                        && !print::is_hidden(&item.attrs) =>
                {
                    self.show_use(&item.tree, Vec::new(), (at, shown), seen, lines);
                }
                other => self.show_item(other, at, shown, None, lines),
            }
        }
    }

    /// Shows an item, under another name if there is one, and the methods of a type.
    fn show_item(
        &self,
        item: &Item,
        at: &[String],
        shown: &[String],
        name: Option<&str>,
        lines: &mut Vec<String>,
    ) {
        let Some(owner) = Owner::of(item) else { return };
        let shown_name = name.map_or(owner.name.clone(), str::to_owned);
        let path = format!("{}::{shown_name}", shown.join("::"));
        print::item(item, &path, lines);
        if !owner.has_methods {
            return;
        }
        // `impl` blocks may stand in the type's module or below it, or in any other that uses the type.
        for (module, contents) in &self.modules {
            for block in &contents.items {
                let Item::Impl(block) = block else { continue };
                if print::subject(block) == Some(owner.name.clone())
                    && self.names(module, &owner.name, at)
                {
                    print::methods(block, &path, lines);
                }
            }
        }
    }

    /// Whether `name` means the item of module `home` in module `here`.
    fn names(&self, here: &[String], name: &str, home: &[String]) -> bool {
        if here == home {
            return true;
        }
        let defined = |path: &[String]| {
            self.modules.get(path).is_some_and(|m| {
                let owners = m.items.iter().filter_map(Owner::of);
                owners.into_iter().any(|o| o.name == name && o.has_methods)
            })
        };
        !defined(here)
    }

    fn show_use(
        &self,
        tree: &UseTree,
        prefix: Vec<String>,
        place: (&[String], &[String]),
        seen: &mut BTreeSet<(Vec<String>, Vec<String>)>,
        lines: &mut Vec<String>,
    ) {
        let (at, shown) = place;
        match tree {
            UseTree::Path(path) => {
                let prefix = [prefix, vec![path.ident.to_string()]].concat();
                self.show_use(&path.tree, prefix, place, seen, lines);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.show_use(tree, prefix.clone(), place, seen, lines);
                }
            }
            UseTree::Glob(_) => match self.resolve(at, &prefix) {
                Some(module) if self.modules.contains_key(&module) => {
                    self.show_module(&module, shown, seen, lines);
                }
                _ => lines.push(format!(
                    "pub use {}::{}::*",
                    shown.join("::"),
                    prefix.join("::")
                )),
            },
            UseTree::Name(name) => {
                self.show_named(prefix, &name.ident.to_string(), None, place, seen, lines);
            }
            UseTree::Rename(rename) => {
                let (name, new) = (rename.ident.to_string(), rename.rename.to_string());
                self.show_named(prefix, &name, Some(&new), place, seen, lines);
            }
        }
    }

    /// Shows what `pub use prefix::name` brings: the item itself if it is this crate's, else where it comes from.
    fn show_named(
        &self,
        prefix: Vec<String>,
        name: &str,
        new: Option<&str>,
        (at, shown): (&[String], &[String]),
        seen: &mut BTreeSet<(Vec<String>, Vec<String>)>,
        lines: &mut Vec<String>,
    ) {
        let source = [prefix.clone(), vec![name.to_owned()]].concat();
        let new_name = new.unwrap_or(name);
        let Some(module) = self.resolve(at, &prefix) else {
            let path = format!("{}::{new_name}", shown.join("::"));
            lines.push(format!("pub use {path} = {}", source.join("::")));
            return;
        };
        let below = [module.as_slice(), &[name.to_owned()]].concat();
        if self.modules.contains_key(&below) {
            let shown = [shown, &[new_name.to_owned()]].concat();
            lines.push(format!("pub mod {}", shown.join("::")));
            self.show_module(&below, &shown, seen, lines);
        }
        let Some(contents) = self.modules.get(&module) else {
            return;
        };
        for item in &contents.items {
            match item {
                Item::Use(further) => {
                    if let Some(prefix) = import_of(&further.tree, name, Vec::new()) {
                        self.show_named(prefix, name, new, (&module, shown), seen, lines);
                    }
                }
                item if Owner::of(item).is_some_and(|o| o.name == name) => {
                    self.show_item(item, &module, shown, new, lines);
                }
                _ => {}
            }
        }
    }

    /// The module of this crate that a path in module `at` leads to.
    fn resolve(&self, at: &[String], path: &[String]) -> Option<Vec<String>> {
        let mut here = at.to_vec();
        for part in path {
            match part.as_str() {
                "crate" => here = vec![self.name.clone()],
                "self" => {}
                "super" => {
                    here.pop();
                }
                name => {
                    here.push(name.to_owned());
                    if !self.modules.contains_key(&here) {
                        return None;
                    }
                }
            }
        }
        Some(here)
    }
}

/// The prefix under which an import brings `name`.
fn import_of(tree: &UseTree, name: &str, prefix: Vec<String>) -> Option<Vec<String>> {
    match tree {
        UseTree::Path(path) => {
            let prefix = [prefix, vec![path.ident.to_string()]].concat();
            import_of(&path.tree, name, prefix)
        }
        UseTree::Group(group) => {
            let mut found = group.items.iter();
            found.find_map(|tree| import_of(tree, name, prefix.clone()))
        }
        UseTree::Name(found) if found.ident == name => Some(prefix),
        _ => None,
    }
}
