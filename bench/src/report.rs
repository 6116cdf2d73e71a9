//! What was measured, for machines and for people.

mod against;
pub mod growth;
pub mod number;
mod plot;
mod summary;
pub mod table;

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

pub use summary::{Report, Summary};

use crate::figure::FIGURES;

impl Report {
    /// Writes the files into a folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("bench.json", serde_json::to_string_pretty(&self.json())?)?;
        write("bench.svg", plot::svg(self))?;
        write("bench.md", table::markdown(self))
    }

    fn json(&self) -> Value {
        let mut summaries = Vec::new();
        for figure in FIGURES {
            for system in self.systems() {
                if let Some(summary) = self.summary(system, figure) {
                    summaries.push(json!({"system": system, "workload": figure.workload, "figure": figure.key,
                        "title": figure.title, "unit": figure.unit, "relation": figure.relation, "summary": summary}));
                }
            }
        }
        let mut json = json!(self);
        json["summaries"] = summaries.into();
        json
    }
}
