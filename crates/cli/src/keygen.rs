//! `headgate keygen`: makes a key pair for an app, or for the built-in issuer of the admin API.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use headgate_auth::{Algorithm, PrivateKey, jwks_document};

use crate::failure::Failure;
use crate::output::print;
use crate::private_file::{self, Existing};

/// Make a key pair: the private key goes into a file, the public one to standard output, as the JWK Set that
/// `headgate admin app create --jwks` and the option admin.builtin_jwks_file want.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// File for the private key as a JWK; made readable by its owner only.
    #[arg(long, value_name = "KEY.jwk")]
    out: PathBuf,
    /// File for the public key as a JWK Set, as well as standard output.
    #[arg(long, value_name = "FILE")]
    jwks_out: Option<PathBuf>,
    /// What the key signs with.
    #[arg(long, value_enum, default_value = "es384", ignore_case = true)]
    alg: Alg,
    /// Replace files that exist.
    #[arg(long)]
    force: bool,
}

/// The two algorithms of SMART Backend Services.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Alg {
    /// ECDSA on P-384.
    Es384,
    /// RSA of 3072 bits.
    Rs384,
}

/// Makes the key pair.
pub fn run(args: KeygenArgs) -> Result<(), Failure> {
    let algorithm = match args.alg {
        Alg::Es384 => Algorithm::Es384,
        Alg::Rs384 => Algorithm::Rs384,
    };
    let key = PrivateKey::generate(algorithm)?;
    let jwks = jwks_document([key.public_jwk()]).to_string();
    let existing = if args.force { Existing::Replace } else { Existing::Refuse };
    private_file::write(&args.out, &format!("{}\n", key.to_private_jwk()?), existing).map_err(|error| {
        let path = args.out.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::config(format!("{path} exists; say --force to replace it"))
            }
            _ => Failure::failed(format!("cannot write {path}: {error}")),
        }
    })?;
    if let Some(path) = &args.jwks_out {
        std::fs::write(path, format!("{jwks}\n"))
            .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
    }
    print(jwks);
    Ok(())
}
