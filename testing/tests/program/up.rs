//! `up`, `down`, `logs`: a whole mesh from one command, and what becomes of it when its parts are killed.
