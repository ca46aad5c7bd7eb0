//! Options from the environment: `HEADGATE__SECTION__KEY`.
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
            let Some((section, key)) = path.split_once("__") else {
                problems.push(format!("{name}: write {PREFIX}SECTION__KEY"));
                continue;
            };
            let Ok(default) = defaults.find_value(&format!("{section}.{key}")) else {
                problems.push(format!("{name}: there is no option {section}.{key}"));
                continue;
            };
            match typed(&default, text) {
                Ok(value) => insert(&mut options, section, key, value),
                Err(expected) => problems.push(format!("{name}: must be {expected}")),
            }
        }
        if problems.is_empty() { Ok(Self { options }) } else { Err(problems) }
    }
}

fn insert(options: &mut Dict, section: &str, key: &str, value: Value) {
    let section = options.entry(section.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Dict(_, keys) = section {
        keys.insert(key.to_owned(), value);
    }
}

fn typed(default: &Value, text: String) -> Result<Value, &'static str> {
    match default {
        Value::Num(..) => {
            let number = text.trim().parse::<u64>().map_err(|_| "a whole number")?;
            Ok(Value::Num(Tag::Default, Num::from(number)))
        }
        Value::Bool(..) => {
            text.trim().parse::<bool>().map(|on| Value::Bool(Tag::Default, on)).map_err(|_| "true or false")
        }
        _ => Ok(Value::String(Tag::Default, text)),
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.options.clone())]))
    }
}
