//! What an answer is to be like: the flags that `ask` and `chat` share.

use serde_json::{Map, Value, json};

use super::screen::Thoughts;

#[derive(Debug, clap::Args)]
pub struct Wish {
    /// How the model is to behave
    #[arg(short, long, value_name = "TEXT")]
    pub system: Option<String>,

    /// How daring: 0 gives the likeliest answer
    #[arg(short, long, value_name = "NUMBER")]
    temperature: Option<f64>,

    /// The longest answer
    #[arg(short = 'n', long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,

    /// Show the thoughts of a model that thinks, even in a pipe
    #[arg(long)]
    think: bool,

    /// A model that thinks is to answer at once
    #[arg(long, conflicts_with = "think")]
    no_think: bool,
}

impl Wish {
    /// The fields of a request that say so.
    pub fn fields(&self) -> Map<String, Value> {
        let mut options = Map::new();
        options.extend(self.temperature.map(|it| ("temperature".to_owned(), json!(it))));
        options.extend(self.max_tokens.map(|it| ("num_predict".to_owned(), json!(it))));
        let think = json!(self.no_think.then_some(false));
        Map::from_iter([("options".to_owned(), options.into()), ("think".to_owned(), think)])
    }

    /// Whether thoughts are shown.
    pub fn thoughts(&self) -> Thoughts {
        if self.think { Thoughts::Always } else { Thoughts::OnTerminal }
    }
}
