//! Items as lines of text.

use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, TraitItem, Visibility};

/// What an item defines.
pub struct Owner {
    pub name: String,
    pub has_methods: bool,
}

impl Owner {
    /// Of an item that is public where it stands, and shown in documentation.
    pub fn of(item: &Item) -> Option<Owner> {
        let (visibility, attributes, name, has_methods) = match item {
            Item::Struct(i) => (&i.vis, &i.attrs, &i.ident, true),
            Item::Enum(i) => (&i.vis, &i.attrs, &i.ident, true),
            Item::Union(i) => (&i.vis, &i.attrs, &i.ident, true),
            Item::Trait(i) => (&i.vis, &i.attrs, &i.ident, false),
            Item::Type(i) => (&i.vis, &i.attrs, &i.ident, false),
            Item::Const(i) => (&i.vis, &i.attrs, &i.ident, false),
            Item::Static(i) => (&i.vis, &i.attrs, &i.ident, false),
            Item::Fn(i) => (&i.vis, &i.attrs, &i.sig.ident, false),
            _ => return None,
        };
        (is_public(visibility) && !is_hidden(attributes)).then(|| Owner {
            name: name.to_string(),
            has_methods,
        })
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Under `cfg(test)`, or left out of documentation.
pub fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let words = list.tokens.to_string();
        let mut words = words.split(|c: char| !c.is_alphanumeric());
        (list.path.is_ident("cfg") && words.clone().any(|w| w == "test" || w == "doctest"))
            || (list.path.is_ident("doc") && words.any(|w| w == "hidden"))
    })
}

/// The traits that are derived, and whether more variants or fields may come.
fn promises(attributes: &[Attribute], path: &str, lines: &mut Vec<String>) {
    for attribute in attributes {
        if attribute.path().is_ident("non_exhaustive") {
            lines.push(format!("{path}: non_exhaustive"));
        }
        let syn::Meta::List(list) = &attribute.meta else {
            continue;
        };
        if !list.path.is_ident("derive") {
            continue;
        }
        let names = list.tokens.to_string().replace(' ', "");
        for name in names.split(',').filter(|n| !n.is_empty()) {
            lines.push(format!("impl {name} for {path}"));
        }
    }
}

/// Tokens as people write them.
fn text(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" ,", ","),
        (" ;", ";"),
        (" :", ":"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
        ("& ", "&"),
        (" ?", "?"),
        (",)", ")"),
        (",>", ">"),
        ("->", " -> "),
        ("  ", " "),
        ("= >", "=>"),
        (" - > ", " -> "),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// An item and its parts.
pub fn item(item: &Item, path: &str, lines: &mut Vec<String>) {
    match item {
        Item::Struct(i) => {
            lines.push(format!("pub struct {path}{}", text(&i.generics)));
            promises(&i.attrs, path, lines);
            fields(&i.fields, path, true, lines);
        }
        Item::Enum(i) => {
            lines.push(format!("pub enum {path}{}", text(&i.generics)));
            promises(&i.attrs, path, lines);
            for variant in &i.variants {
                let path = format!("{path}::{}", variant.ident);
                lines.push(path.clone());
                promises(&variant.attrs, &path, lines);
                fields(&variant.fields, &path, false, lines);
            }
        }
        Item::Union(i) => lines.push(format!("pub union {path}{}", text(&i.generics))),
        Item::Trait(i) => {
            let above = &i.supertraits;
            lines.push(format!(
                "pub trait {path}{}: {}",
                text(&i.generics),
                text(above)
            ));
            for part in &i.items {
                lines.push(match part {
                    TraitItem::Fn(f) => format!("{path}: {}", text(&f.sig)),
                    TraitItem::Const(c) => format!("{path}: const {}: {}", c.ident, text(&c.ty)),
                    TraitItem::Type(t) => format!("{path}: type {}: {}", t.ident, text(&t.bounds)),
                    _ => continue,
                });
            }
        }
        Item::Type(i) => {
            lines.push(format!(
                "pub type {path}{} = {}",
                text(&i.generics),
                text(&i.ty)
            ));
        }
        Item::Const(i) => lines.push(format!("pub const {path}: {}", text(&i.ty))),
        Item::Static(i) => lines.push(format!("pub static {path}: {}", text(&i.ty))),
        Item::Fn(i) => lines.push(format!("pub {}", named(&i.sig, path))),
        _ => {}
    }
}

/// A signature under a path.
fn named(signature: &syn::Signature, path: &str) -> String {
    text(signature).replacen(&format!("fn {}", signature.ident), &format!("fn {path}"), 1)
}

fn fields(fields: &Fields, path: &str, marked: bool, lines: &mut Vec<String>) {
    for (i, field) in fields.iter().enumerate() {
        // Fields of variants are as public as the enum.
        if (marked && !is_public(&field.vis)) || is_hidden(&field.attrs) {
            continue;
        }
        let name = field
            .ident
            .as_ref()
            .map_or_else(|| i.to_string(), ToString::to_string);
        lines.push(format!("{path}.{name}: {}", text(&field.ty)));
    }
}

/// The type that an `impl` block is for, if it is one with a name.
pub fn subject(block: &ItemImpl) -> Option<String> {
    let syn::Type::Path(path) = &*block.self_ty else {
        return None;
    };
    path.path.segments.last().map(|s| s.ident.to_string())
}

/// The trait that a block implements, or its public methods.
pub fn methods(block: &ItemImpl, path: &str, lines: &mut Vec<String>) {
    if is_hidden(&block.attrs) {
        return;
    }
    if let Some((name, _)) = &block.trait_ {
        lines.push(format!("impl {} for {path}", text(name)));
        return;
    }
    for part in &block.items {
        match part {
            ImplItem::Fn(f) if is_public(&f.vis) && !is_hidden(&f.attrs) => {
                lines.push(format!(
                    "pub {}",
                    named(&f.sig, &format!("{path}::{}", f.sig.ident))
                ));
            }
            ImplItem::Const(c) if is_public(&c.vis) && !is_hidden(&c.attrs) => {
                lines.push(format!("pub const {path}::{}: {}", c.ident, text(&c.ty)));
            }
            _ => {}
        }
    }
}
