//! Exit statuses, as `sysexits.h` numbers them, so that a supervisor can tell a wrong configuration (do not
//! restart) from a database that is away (restart later).

/// The command did what it was asked for, but the answer is "no": a check failed, counts differ.
pub const FAILED: u8 = 1;

/// `EX_USAGE`: the configuration or the command line is wrong. Starting again will not help.
pub const CONFIG: u8 = 64;

/// `EX_UNAVAILABLE`: something that is needed is absent: a database, PostgreSQL itself, a server.
pub const UNAVAILABLE: u8 = 69;

/// `EX_SOFTWARE`: a part of the process ended although nobody asked it to.
pub const SOFTWARE: u8 = 70;
