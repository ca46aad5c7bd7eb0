//! Options from the environment: `HEADGATE__SECTION__KEY`, and `HEADGATE__SERVER__TLS__CERT_FILE` for a table
//! within a section. A list is written as one in TOML or in JSON.
//!
//! A variable is text, an option has a type. The type is that of the default: so a password of digits stays
//! a text, and a misspelt number is an error that names the variable. (Guessing the type from the text, as
//! the stock provider does, would make a number of the password.)

use figment::providers::{Format as _, Toml};
use figment::value::{Dict, Map, Num, Tag, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::DEFAULT_TOML;

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "HEADGATE__";

/// The variables that are options, as a provider of configuration.
pub(super) struct Environment {
    options: Dict,
}

impl Environment {
    /// Picks our variables and gives each the type of its default.
    ///
    /// # Errors
    /// One text for each variable that is no option or whose value has the wrong type.
    pub(super) fn read(variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, Vec<String>> {
        let defaults = figment::Figment::from(Toml::string(DEFAULT_TOML));
        let mut options = Dict::new();
        let mut problems = Vec::new();
        for (name, text) in variables {
            let Some(path) = name.strip_prefix(PREFIX) else { continue };
            let path = path.to_lowercase();
            let parts: Vec<&str> = path.split("__").collect();
            let key = parts.join(".");
            let default = match defaults.find_value(&key) {
                // A section, or a table within one, is no option.
                Ok(Value::Dict(..)) => {
                    problems.push(format!("{name}: write {name}__KEY"));
                    continue;
                }
                Ok(default) => default,
                Err(_) if parts.len() < 2 => {
                    problems.push(format!("{name}: write {PREFIX}SECTION__KEY"));
                    continue;
                }
                Err(_) => {
                    problems.push(format!("{name}: there is no option {key}"));
                    continue;
                }
            };
            match typed(&default, text) {
                Ok(value) => insert(&mut options, &parts, value),
                Err(expected) => problems.push(format!("{name}: must be {expected}")),
            }
        }
        if problems.is_empty() { Ok(Self { options }) } else { Err(problems) }
    }
}

/// Puts a value at its place, making the tables on the way to it.
fn insert(options: &mut Dict, path: &[&str], value: Value) {
    match path {
        [] => {}
        [key] => drop(options.insert((*key).to_owned(), value)),
        [table, rest @ ..] => {
            let table = options.entry((*table).to_owned()).or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, keys) = table {
                insert(keys, rest, value);
            }
        }
    }
}

fn typed(default: &Value, text: String) -> Result<Value, &'static str> {
    match default {
        Value::Num(_, Num::F64(_) | Num::F32(_)) => {
            let number =
                text.trim().parse::<f64>().ok().filter(|number| number.is_finite()).ok_or("a number")?;
            Ok(Value::Num(Tag::Default, Num::from(number)))
        }
        Value::Num(..) => {
            let number = text.trim().parse::<u64>().map_err(|_| "a whole number")?;
            Ok(Value::Num(Tag::Default, Num::from(number)))
        }
        Value::Bool(..) => {
            text.trim().parse::<bool>().map(|on| Value::Bool(Tag::Default, on)).map_err(|_| "true or false")
        }
        Value::Array(..) => list(&text).ok_or("a list in TOML or JSON, such as [{issuer = \"…\", …}]"),
        _ => Ok(Value::String(Tag::Default, text)),
    }
}

/// Reads a list that is written in JSON or in TOML. The parsers' own errors would quote it.
fn list(text: &str) -> Option<Value> {
    if let Ok(items) = serde_json::from_str::<Vec<serde_json::Value>>(text) {
        return Value::serialize(items).ok();
    }
    let read = Toml::string(&format!("list = {text}")).data().ok()?;
    let mut members = read.into_values().next()?;
    // Text that goes on behind the list is no list.
    let list = members.remove("list").filter(|_| members.is_empty())?;
    matches!(list, Value::Array(..)).then_some(list)
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.options.clone())]))
    }
}
