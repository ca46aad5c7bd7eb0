//! Configuration of a process, by environment.

use std::collections::BTreeMap;
use std::fmt::Display;

/// Options by their names in `config/default.toml`, such as `lease.duration_s`.
#[derive(Clone, Default)]
pub struct Settings {
    variables: BTreeMap<String, String>,
}

impl Settings {
    /// Nothing but the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an option, in place of an earlier value.
    pub fn set(&mut self, key: &str, value: impl Display) -> &mut Self {
        self.variables.insert(variable(key), value.to_string());
        self
    }

    /// The same with an option set.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        self.set(key, value);
        self
    }

    /// Takes over what others set.
    pub fn extend(&mut self, others: &Settings) {
        self.variables.extend(others.variables.clone());
    }

    /// The environment variables, `HEADGATE__SECTION__KEY`.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Shows which options are set, never their values: some are secrets.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.variables.keys()).finish()
    }
}

fn variable(key: &str) -> String {
    format!("HEADGATE__{}", key.replace('.', "__").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_becomes_its_environment_variable_and_the_last_value_counts() {
        let settings = Settings::new().with("lease.duration_s", 30).with("lease.duration_s", 3);
        assert_eq!(settings.variables().collect::<Vec<_>>(), [("HEADGATE__LEASE__DURATION_S", "3")]);
    }
}
