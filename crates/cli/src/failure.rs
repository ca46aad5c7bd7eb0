//! Why a command did not do what it was asked for, as text for a person and as exit status for a program.

use std::error::Error;
use std::fmt::Display;

use headgate_runtime::{ConfigError, exit};

use crate::export::ExportError;

/// A message and an exit status. Messages hold no secret and no patient's data: the errors they are made of
/// do not.
#[derive(Debug)]
pub struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// The command line or the configuration is wrong.
    pub fn config(message: impl Display) -> Self {
        Self { status: exit::CONFIG, message: message.to_string() }
    }

    /// Something that is needed is absent or does not answer.
    pub fn unavailable(error: &(dyn Error + 'static)) -> Self {
        Self { status: exit::UNAVAILABLE, message: with_causes(error) }
    }

    /// The given status.
    pub fn with_status(status: u8, message: impl Display) -> Self {
        Self { status, message: message.to_string() }
    }

    /// What was asked for was tried, and did not succeed.
    pub fn failed(message: impl Display) -> Self {
        Self { status: exit::FAILED, message: message.to_string() }
    }

    /// The same, from an error and its causes.
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        Self::failed(with_causes(error))
    }

    /// A part of the process ended although nobody asked it to.
    pub fn software(message: impl Display) -> Self {
        Self { status: exit::SOFTWARE, message: message.to_string() }
    }

    /// What to tell the person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to tell the calling program.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// So that it can travel as any error. It has no cause: those are in the message already.
impl Error for Failure {}

/// The error and its causes in one line. Some errors name their cause themselves: it is not said twice.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::config(with_causes(&error))
    }
}

impl From<headgate_runtime::telemetry::TelemetryError> for Failure {
    fn from(error: headgate_runtime::telemetry::TelemetryError) -> Self {
        Self::config(with_causes(&error))
    }
}

impl From<headgate_runtime::serve::BindError> for Failure {
    fn from(error: headgate_runtime::serve::BindError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<headgate_runtime::serve::TlsError> for Failure {
    fn from(error: headgate_runtime::serve::TlsError) -> Self {
        // Its texts are complete.
        Self::config(error)
    }
}

impl From<headgate_store::Error> for Failure {
    fn from(error: headgate_store::Error) -> Self {
        Self::unavailable(&error)
    }
}

impl From<headgate_objects::ObjectError> for Failure {
    fn from(error: headgate_objects::ObjectError) -> Self {
        Self::unavailable(&error)
    }
}

impl From<headgate_api::StartError> for Failure {
    fn from(error: headgate_api::StartError) -> Self {
        match error {
            // Its text is complete.
            headgate_api::StartError::Sealed(_) => Self::config(error),
            error => Self::unavailable(&error),
        }
    }
}

impl From<headgate_auth::KeyError> for Failure {
    fn from(error: headgate_auth::KeyError) -> Self {
        Self::from_error(&error)
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        // Its texts are complete.
        match &error {
            ExportError::Option { .. } | ExportError::Key { .. } | ExportError::NotEmpty(_) => {
                Self::config(error)
            }
            ExportError::Network { .. } => Self { status: exit::UNAVAILABLE, message: error.to_string() },
            _ => Self::failed(error),
        }
    }
}
