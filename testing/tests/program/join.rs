//! `invite` and `join`.
