//! `doctor` and `config`.
