//! The suites live in `tests/tests`: each drives real processes over sockets.
