//! As much of JSON Schema as the service's description uses; anything else in it is an error.

use serde_json::Value;

/// Keywords that say nothing about a value.
const NOTES: [&str; 7] = [
    "description",
    "title",
    "example",
    "examples",
    "format",
    "contentEncoding",
    "default",
];

/// Compares a value with a schema of `document`.
///
/// # Errors
/// Where and how it does not fit.
pub fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |what: String| Err(format!("{at}: {what}: {value}"));
    let inside = |schema: &Value, value: &Value, step: &str| {
        check(document, schema, value, &format!("{at}/{step}"))
    };
    for (keyword, rule) in schema.as_object().ok_or("a schema is an object")? {
        let list = || rule.as_array().unwrap();
        match keyword.as_str() {
            note if NOTES.contains(&note) => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                inside(document.pointer(pointer).unwrap(), value, "")?;
            }
            "type" => {
                let types = rule
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|t| is(t.as_str().unwrap(), value)) {
                    return fail(format!("not of type {rule}"));
                }
            }
            "enum" if !list().contains(value) => return fail(format!("not in {rule}")),
            "const" if rule != value => return fail(format!("not {rule}")),
            "enum" | "const" => {}
            "allOf" => list().iter().try_for_each(|s| inside(s, value, "allOf"))?,
            "oneOf" => {
                let fits = list()
                    .iter()
                    .filter(|s| inside(s, value, "oneOf").is_ok())
                    .count();
                if fits != 1 {
                    return fail(format!("fits {fits} of {rule}"));
                }
            }
            "minimum" if value.as_f64() < rule.as_f64() => {
                return fail(format!("less than {rule}"));
            }
            "maximum" if value.is_number() && value.as_f64() > rule.as_f64() => {
                return fail(format!("more than {rule}"));
            }
            "minItems"
                if value
                    .as_array()
                    .is_some_and(|v| (v.len() as u64) < rule.as_u64().unwrap()) =>
            {
                return fail("too short".to_owned());
            }
            "maxItems"
                if value
                    .as_array()
                    .is_some_and(|v| v.len() as u64 > rule.as_u64().unwrap()) =>
            {
                return fail("too long".to_owned());
            }
            "maxLength"
                if value
                    .as_str()
                    .is_some_and(|v| v.chars().count() as u64 > rule.as_u64().unwrap()) =>
            {
                return fail("too long".to_owned());
            }
            "minimum" | "maximum" | "minItems" | "maxItems" | "maxLength" => {}
            "pattern" => {
                if value
                    .as_str()
                    .is_some_and(|text| !matches(rule.as_str().unwrap(), text))
                {
                    return fail(format!("does not match {rule}"));
                }
            }
            "required" => {
                let lacks = |name: &&Value| {
                    value.is_object() && value.get(name.as_str().unwrap()).is_none()
                };
                if let Some(name) = list().iter().find(lacks) {
                    return fail(format!("{name} is missing"));
                }
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    value
                        .get(name)
                        .map_or(Ok(()), |v| inside(schema, v, name))?;
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, false, "additionalProperties");
                let known = schema["properties"].as_object().unwrap();
                let names = value.as_object().into_iter().flat_map(|v| v.keys());
                if let Some(name) = names.into_iter().find(|n| !known.contains_key(*n)) {
                    return fail(format!("{name} is unknown"));
                }
            }
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                for (i, item) in items {
                    inside(rule, item, &i.to_string())?;
                }
            }
            other => panic!("the keyword {other} is not known here"),
        }
    }
    Ok(())
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}

/// The patterns that the description uses.
fn matches(pattern: &str, text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    match pattern {
        "^[0-9a-f]{32}$" => text.len() == 32 && text.bytes().all(lower),
        "^[0-9a-f]{64}$" => text.len() == 64 && text.bytes().all(lower),
        "^[0-9a-f]{128}$" => text.len() == 128 && text.bytes().all(lower),
        "^([0-9a-f]{2})*$" => text.len().is_multiple_of(2) && text.bytes().all(lower),
        "^([0-9a-fA-F]{2})*$" => {
            text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit())
        }
        "^[a-z][a-z0-9_]*$" => {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        }
        other => panic!("the pattern {other} is not known here"),
    }
}
