//! The admin API, as operators, administrators of a practice and vendors meet it.

mod cli;
mod conditions;
mod consents;
mod exports;
mod groups;
mod keys;
mod lists;
mod practices;
mod problems;
