//! `headgate admin token`: mints a token of the built-in issuer, on this machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use headgate_auth::admin_token::{MAX_LIFETIME, MAX_SUBJECT_BYTES, issue};
use headgate_auth::{AdminRole, PrivateKey};
use headgate_domain::PracticeNumber;
use uuid::Uuid;

use crate::failure::Failure;
use crate::input;
use crate::time_span;

/// Mint a token for the admin API with the key whose public part the API was given as admin.builtin_jwks_file.
/// Nothing is sent anywhere.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// File with the private key as a JWK, as `headgate keygen` makes it.
    #[arg(long, value_name = "KEY.jwk")]
    key: PathBuf,
    /// What the bearer may do.
    #[arg(long, value_enum)]
    role: Role,
    /// The practice of a practice's administrator.
    #[arg(long, value_name = "NUMBER", required_if_eq("role", "practice-admin"))]
    practice: Option<PracticeNumber>,
    /// The vendor whose apps the bearer registers.
    #[arg(long, value_name = "VENDOR_ID", required_if_eq("role", "vendor"))]
    vendor: Option<Uuid>,
    /// Who the bearer is: what the audit trail names.
    #[arg(long, value_name = "NAME")]
    subject: String,
    /// How long it is valid, such as 30m, 12h or 7d; 31 days at most.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime)]
    lifetime: Duration,
}

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Everything.
    Operator,
    /// What concerns one practice.
    PracticeAdmin,
    /// What concerns one vendor's apps.
    Vendor,
}

/// Mints the token.
pub(super) fn mint(args: &TokenArgs) -> Result<String, Failure> {
    let role = args.role()?;
    let subject = args.subject.as_str();
    if !(1..=MAX_SUBJECT_BYTES).contains(&subject.len()) || subject.contains(char::is_control) {
        return Err(Failure::config("--subject: write a name of 1 to 200 bytes, on one line"));
    }
    let key = PrivateKey::from_jwk(&input::text("--key", &args.key)?)
        .map_err(|error| Failure::config(format!("--key: {error}")))?;
    Ok(issue(&key, subject, &role, args.lifetime)?)
}

impl TokenArgs {
    fn role(&self) -> Result<AdminRole, Failure> {
        match (self.role, self.practice, self.vendor) {
            (Role::Operator, None, None) => Ok(AdminRole::Operator),
            (Role::PracticeAdmin, Some(number), None) => Ok(AdminRole::PracticeAdmin(number)),
            (Role::Vendor, None, Some(vendor)) => Ok(AdminRole::Vendor(vendor)),
            _ => Err(Failure::config(
                "give --practice with the role practice-admin, --vendor with the role vendor, and neither else",
            )),
        }
    }
}

/// Reads a time of whole seconds, minutes, hours or days.
fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "write a time such as 30m, 12h or 7d, of 31 days at most".to_owned();
    let time = time_span::parse(text).map_err(|_| wrong())?;
    if time.is_zero() || time > MAX_LIFETIME { Err(wrong()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use clap::Parser;
    use headgate_auth::admin_token::verify;
    use headgate_auth::{AdminIssuer, Algorithm, IssuerKeys};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TokenArgs,
    }

    #[test]
    fn a_minted_token_is_what_the_admin_api_accepts_with_the_public_key() {
        let key = PrivateKey::generate(Algorithm::Es384).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, key.to_private_jwk().unwrap()).unwrap();
        let keys = IssuerKeys::of([key.public_jwk()]).unwrap();
        let mint = |words: &[&str]| {
            let fixed = ["token", "--key", file.path().to_str().unwrap(), "--subject", "ann"];
            let line = Line::try_parse_from(fixed.iter().chain(words)).map_err(|error| error.to_string())?;
            let token = mint(&line.args).map_err(|error| error.to_string())?;
            let issuer = AdminIssuer::builtin();
            Ok::<_, String>(verify(&token, &keys, &issuer, Utc::now(), Duration::ZERO).unwrap())
        };
        let ann = mint(&["--role", "operator"]).unwrap();
        assert_eq!((ann.subject.as_str(), ann.role), ("ann", AdminRole::Operator));
        let admin = mint(&["--role", "practice-admin", "--practice", "7", "--lifetime", "31d"]).unwrap();
        assert_eq!(admin.role, AdminRole::PracticeAdmin("7".parse().unwrap()));
        let vendor = Uuid::new_v4();
        let bearer = mint(&["--role", "vendor", "--vendor", &vendor.to_string()]).unwrap();
        assert_eq!(bearer.role, AdminRole::Vendor(vendor));
        for wrong in [
            &["--role", "practice-admin"][..],
            &["--role", "vendor"],
            &["--role", "operator", "--practice", "7"],
            &["--role", "operator", "--lifetime", "32d"],
        ] {
            assert!(mint(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(lifetime("12h"), Ok(Duration::from_secs(43_200)));
        for wrong in ["", "h", "0d", "1w", "-1h", "1.5h", "7", "9999999999999999d", "1é"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
