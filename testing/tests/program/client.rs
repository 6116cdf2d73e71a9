//! `ask`, `chat` and `models`: in pipes and in terminals, while parts of the mesh die.

mod ask;
mod chat;
mod models;
mod run;
