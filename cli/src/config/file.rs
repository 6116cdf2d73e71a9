//! The configuration file itself: who may write it, and what it says on which line.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use echo_bus::process::BadConfig;
use toml::de::{DeTable, DeValue};

/// More than anybody writes by hand, in bytes.
const LONGEST: u64 = 1 << 20;

/// A file that could be read.
#[derive(Debug)]
pub struct File {
    pub path: PathBuf,
    pub settings: Vec<Setting>,
    /// Each table and its line, those without settings included.
    pub tables: Vec<(Vec<String>, usize)>,
}

/// One line of it.
#[derive(Debug)]
pub struct Setting {
    /// The command: empty for all of them, `["models", "pull"]` for `[models.pull]`.
    pub table: Vec<String>,
    pub key: String,
    pub value: Value,
    pub line: usize,
}

/// What a setting is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Switch(bool),
    One(String),
    Many(Vec<String>),
}

impl Value {
    /// As on a command line.
    pub fn words(&self) -> Vec<&str> {
        match self {
            Self::Switch(true) => vec!["true"],
            Self::Switch(false) => vec!["false"],
            Self::One(word) => vec![word],
            Self::Many(words) => words.iter().map(String::as_str).collect(),
        }
    }
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, others can write it, or it is no TOML.
    pub fn read(path: &Path) -> Result<Self, BadConfig> {
        let shown = path.display();
        let failed = |error: std::io::Error| {
            BadConfig(format!(
                "cannot read the configuration {shown} ({error}): correct --config (ECHO_CONFIG)"
            ))
        };
        let file = std::fs::File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_file() && about.permissions().mode() & 0o022 != 0 {
            let close = format!("chmod go-w '{shown}'");
            return Err(BadConfig(format!(
                "others can write the configuration {shown}; close it with: {close}"
            )));
        }
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > LONGEST {
            return Err(BadConfig(format!("{shown} has more than {LONGEST} bytes: it is no configuration")));
        }
        Self::parse(path, &text)
    }

    /// Takes the text of a file.
    ///
    /// # Errors
    /// It is no TOML, or holds what no setting can be.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadConfig> {
        let lines = Lines::new(path, text);
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            lines.bad(lines.number(at), error.message())
        })?;
        let mut file = Self { path: path.to_owned(), settings: Vec::new(), tables: Vec::new() };
        file.take(&lines, table.get_ref(), &[])?;
        Ok(file)
    }

    fn take(&mut self, lines: &Lines, table: &DeTable, path: &[String]) -> Result<(), BadConfig> {
        for (key, value) in table {
            let line = lines.number(key.span().start);
            let key = key.get_ref().to_string();
            if let DeValue::Table(inner) = value.get_ref() {
                let path = [path, &[key]].concat();
                self.tables.push((path.clone(), line));
                self.take(lines, inner, &path)?;
                continue;
            }
            let value =
                value_of(value.get_ref()).map_err(|wrong| lines.bad(line, &format!("`{key}` {wrong}")))?;
            self.settings.push(Setting { table: path.to_vec(), key, value, line });
        }
        Ok(())
    }

    /// A sentence about a line.
    pub fn bad(&self, line: usize, sentence: &str) -> BadConfig {
        BadConfig(format!("{}:{line}: {sentence}", self.path.display()))
    }

    /// What holds for a flag of a command: the word of the innermost table.
    pub fn setting(&self, command: &[String], flag: &str) -> Option<&Setting> {
        let of_it = |it: &&Setting| it.key == flag && command.starts_with(&it.table);
        self.settings.iter().filter(of_it).max_by_key(|it| it.table.len())
    }
}

/// Which line a byte is in.
struct Lines<'a> {
    path: &'a Path,
    /// Where each begins.
    begins: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(path: &'a Path, text: &str) -> Self {
        let behind = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { path, begins: std::iter::once(0).chain(behind).collect() }
    }

    fn number(&self, at: usize) -> usize {
        self.begins.partition_point(|begin| *begin <= at)
    }

    fn bad(&self, line: usize, sentence: &str) -> BadConfig {
        BadConfig(format!("{}:{line}: {}", self.path.display(), sentence.replace('\n', " ")))
    }
}

fn value_of(value: &DeValue) -> Result<Value, String> {
    match value {
        DeValue::Boolean(on) => Ok(Value::Switch(*on)),
        DeValue::Array(values) => {
            values.iter().map(|value| word(value.get_ref())).collect::<Result<_, _>>().map(Value::Many)
        }
        other => word(other).map(Value::One),
    }
}

fn word(value: &DeValue) -> Result<String, String> {
    match value {
        DeValue::String(text) if text.contains('\0') => Err("holds a zero byte".to_owned()),
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string()),
            Err(_) => Err(format!("is a number that is too large: {number}")),
        },
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Datetime(_) => Err("is a date; put it into quotes".to_owned()),
        DeValue::Boolean(_) => Err("is a list with true or false in it; write texts or numbers".to_owned()),
        DeValue::Array(_) | DeValue::Table(_) => Err("is a list of lists; write texts or numbers".to_owned()),
    }
}
