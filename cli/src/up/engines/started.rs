//! Engines that are started here: where they may, and with what.

use std::path::PathBuf;

use echo_bus::process::BadConfig;

use super::facts::{EMBEDDED_MODEL, Machine, OLLAMA, Seat, Wish, joined};
use crate::up::address::{Address, shown};
use crate::up::plan::{Api, Engine, From};

/// How many answers at a time an embedded engine gives, unless it is told.
const EMBEDDED_SLOTS: u32 = 2;

/// An engine can only be started on this machine.
///
/// # Errors
/// The seat is elsewhere.
pub fn here(seat: &Seat) -> Result<(), BadConfig> {
    match Address::of(&seat.url) {
        Some(address) if address.is_loopback() => Ok(()),
        _ => Err(BadConfig(format!(
            "no engine answers at {}={}, and one can only be started on this machine: start it there, or choose \
             http://127.0.0.1:PORT.",
            seat.name,
            shown(&seat.url)
        ))),
    }
}

/// `ollama serve` at a seat.
///
/// # Errors
/// There is no ollama, or the seat is elsewhere.
pub fn ollama(seat: &Seat, machine: &Machine, model: Option<&str>) -> Result<Engine, BadConfig> {
    if !machine.ollama {
        return Err(BadConfig(format!(
            "no Ollama answers at {}={} and the ollama command is not on the PATH: install it from {OLLAMA}.",
            seat.name,
            shown(&seat.url)
        )));
    }
    here(seat)?;
    let stores = &machine.stores;
    let store = match model {
        Some(model) => stores.with(model),
        None => stores.stocked().unwrap_or(&stores.own),
    };
    Ok(Engine {
        api: Api::Ollama,
        url: seat.url.clone(),
        from: From::Ollama { store: store.path.clone() },
        model: model.map(str::to_owned),
        key_file: None,
    })
}

/// That an address is that of a mesh: tasks would go round in a circle.
pub fn is_edge(seat: &Seat) -> BadConfig {
    BadConfig(format!("{}={} is an edge of a mesh, not an engine.", seat.name, shown(&seat.url)))
}

/// That an address has an engine of the wrong kind.
pub fn not_ollama(seat: &Seat) -> BadConfig {
    BadConfig(format!(
        "{}={} is an OpenAI server, not Ollama: stop it, choose another URL, or leave ECHO_ENGINE_MODE unset.",
        seat.name,
        shown(&seat.url)
    ))
}

/// Where Ollamas are, for a sentence.
pub fn places(engines: &[Engine]) -> String {
    let place = |engine: &Engine| {
        let from = if engine.from == From::Found { "already running" } else { "started here" };
        format!("{from} at {}", shown(&engine.url))
    };
    joined(&engines.iter().map(place).collect::<Vec<_>>())
}

/// The folder of models that the first Ollama that is started here gets.
pub fn store(engines: &[Engine]) -> Option<PathBuf> {
    engines.iter().find_map(|engine| match &engine.from {
        From::Ollama { store } => Some(store.clone()),
        _ => None,
    })
}

/// llama.cpp's server at a seat.
///
/// # Errors
/// The seat is elsewhere.
pub fn embedded(seat: &Seat) -> Result<Engine, BadConfig> {
    here(seat)?;
    let (api, url, model) = (Api::Openai, seat.url.clone(), Some(EMBEDDED_MODEL.to_owned()));
    Ok(Engine { api, url, from: From::Embedded, model, key_file: None })
}

/// How many answers a node gives at a time, as far as it is known here: Ollama's API does not tell.
pub fn slots(engine: &Engine, wish: &Wish, machine: &Machine) -> Option<u32> {
    wish.slots.or(match engine.from {
        From::Found => None,
        From::Ollama { .. } => machine.ollama_slots,
        From::Embedded => Some(EMBEDDED_SLOTS),
    })
}
