//! Plays rows: those that measure gaps, and the chaos, one at a time; the others side by side.

use std::{
    any::Any,
    cell::RefCell,
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    panic::AssertUnwindSafe,
    path::PathBuf,
    time::Duration,
};

use futures::{FutureExt, future::join_all};

use super::{
    chaos,
    figures::{percentile, short},
    fixture::Fixture,
    row::Row,
    rows,
    setting::Setting,
    soak,
    table::Outcome,
    tally::Tally,
};

/// Rows that are played at the same time; each is half a dozen processes.
const LANES: usize = 3;
/// So many runs of a row are the short form, in which costly rows are played once.
const FEW: u64 = 3;
/// Log lines of each process that a failed run shows.
const SHOWN: usize = 60;
/// Failures of one row that are shown with logs; more of the same help nobody.
const MOST_SHOWN: usize = 2;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    pub runs: u64,
    pub soak: u64,
    pub chaos: Duration,
    /// Names of rows, or beginnings of names; empty: all.
    pub rows: Vec<String>,
    pub seed: u64,
    /// Where all logs of a failed run are kept.
    pub logs: Option<PathBuf>,
}

impl Plan {
    /// The rows that are asked for, in the order of the table.
    pub fn chosen(&self) -> Vec<Row> {
        let mut all = rows::all();
        all.extend((self.soak > 0).then(|| soak::row(self.soak)));
        all.extend((!self.chaos.is_zero()).then(|| chaos::row(self.chaos)));
        let wanted = |row: &Row| {
            self.rows.is_empty() || self.rows.iter().any(|name| row.name.starts_with(name.as_str()))
        };
        all.retain(wanted);
        all
    }
}

/// Plays them all; the results are in the order of the table.
pub async fn play(plan: &Plan) -> Vec<Outcome> {
    let rows = plan.chosen();
    let tallies = RefCell::new(HashMap::new());
    let (mut alone, mut free): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.alone);
    // Rows of one setting follow one another on the same mesh; the long soak begins first.
    alone.sort_by_key(|row| row.setting);
    free.sort_by_key(|row| (row.runs.is_none(), row.setting));
    let (alone, free) = (RefCell::new(VecDeque::from(alone)), RefCell::new(VecDeque::from(free)));
    lane(plan, &alone, &tallies).await;
    join_all((0..LANES).map(|_| lane(plan, &free, &tallies))).await;
    let mut tallies = tallies.into_inner();
    let result = |row: Row| {
        let tally = tallies.remove(row.name).unwrap_or_default();
        Outcome { row, tally }
    };
    rows.into_iter().map(result).collect()
}

/// Plays one row after the other, as long as there are any.
async fn lane(plan: &Plan, rows: &RefCell<VecDeque<&Row>>, tallies: &RefCell<HashMap<&'static str, Tally>>) {
    let mut kept = None;
    loop {
        let Some(row) = rows.borrow_mut().pop_front() else { break };
        let tally = several(plan, row, &mut kept).await;
        eprintln!("{}", progress(row, &tally));
        tallies.borrow_mut().insert(row.name, tally);
    }
}

async fn several(plan: &Plan, row: &Row, kept: &mut Option<(Setting, Fixture)>) -> Tally {
    let mut sum = Tally::default();
    let mut shown = 0;
    let median = row.gap.and_then(|gap| gap.median);
    let asked = if row.costly && plan.runs <= FEW {
        plan.runs.min(1)
    } else if median.is_some() {
        // One gap has no median.
        plan.runs.max(FEW)
    } else {
        plan.runs
    };
    let runs = row.runs.unwrap_or(asked);
    for run in 0..runs {
        let seed = seed(plan.seed, row.name, run);
        let fixture = kept.take().filter(|(setting, _)| *setting == row.setting).map(|(_, fixture)| fixture);
        let (tally, fixture) = once(row, seed, fixture).await;
        if tally.is_clean() {
            *kept = fixture.map(|fixture| (row.setting, fixture));
        } else if shown < MOST_SHOWN {
            shown += 1;
            show(plan, row, run, &tally, fixture.as_ref());
        }
        sum.add(tally);
    }
    if let Some(median) = median.filter(|_| runs > 1) {
        let measured = percentile(&sum.gaps, 50).unwrap_or_default();
        if measured >= median {
            sum.broken.push(format!("the median gap is {}, not under {}", short(measured), short(median)));
        }
    }
    sum
}

/// One run, on the mesh of the run before if that was left whole. A panic is a promise that did not hold.
async fn once(row: &Row, seed: u64, fixture: Option<Fixture>) -> (Tally, Option<Fixture>) {
    let fixture = match fixture {
        Some(fixture) => fixture,
        None => match AssertUnwindSafe(row.setting.mesh().into_future()).catch_unwind().await {
            Ok(mesh) => Fixture::new(mesh),
            Err(panic) => {
                let broken = vec![format!("no mesh: {}", words(&*panic))];
                return (Tally { runs: 1, broken, ..Tally::default() }, None);
            }
        },
    };
    let run = async {
        fixture.begin(row.promised(), seed).await;
        (row.play)(&fixture).await;
        fixture.settle().await;
    };
    let played = AssertUnwindSafe(run).catch_unwind().await;
    if let Err(panic) = played {
        fixture.promise(false, || words(&*panic));
    }
    (fixture.end(), Some(fixture))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// The same for every order and choice of rows, so that one run can be played again.
fn seed(seed: u64, row: &str, run: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, row, run).hash(&mut hasher);
    hasher.finish()
}

fn progress(row: &Row, tally: &Tally) -> String {
    let word = if tally.is_clean() { "ok    " } else { "FAILED" };
    let gap = percentile(&tally.gaps, 99).map(|gap| format!(", gap {}", short(gap))).unwrap_or_default();
    let whole =
        percentile(&tally.wholes, 99).map(|whole| format!(", whole {}", short(whole))).unwrap_or_default();
    let (runs, tasks) = (tally.runs, tally.tasks);
    format!("{word} {:22} {runs} runs, {tasks} tasks{gap}{whole}", row.name)
}

fn show(plan: &Plan, row: &Row, run: u64, tally: &Tally, fixture: Option<&Fixture>) {
    eprintln!("\n==== {} failed in run {run}; again: --rows {} --seed {}", row.name, row.name, plan.seed);
    tally.faults().for_each(|fault| eprintln!("  {fault}"));
    let Some(fixture) = fixture else { return };
    for program in fixture.mesh.programs() {
        eprintln!("---- {}\n{}", program.name(), program.logs().tail(SHOWN));
        let Some(folder) = &plan.logs else { continue };
        let file = folder.join(format!("{}-{run}-{}.log", row.name, program.name().replace(' ', "-")));
        if let Err(error) = std::fs::write(&file, program.logs().all().join("\n")) {
            eprintln!("cannot write {}: {error}", file.display());
        }
    }
}
