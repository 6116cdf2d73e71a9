//! What a person looks at, and what the keys do. Plain data.

use std::time::{Duration, Instant};

use echo_bus::id::NodeId;
use ratatui::crossterm::event::KeyCode;

use super::state::{Seen, State};
use super::task::Task;

/// How long a word about what was done stays.
const NOTE: Duration = Duration::from_secs(6);
/// Lines that a page key moves by.
const PAGE: isize = 10;

/// Where the person is.
#[derive(Debug, Default)]
pub struct View {
    pub list: List,
    node: Option<NodeId>,
    task: Option<String>,
    pub dialog: Dialog,
    note: Option<(String, Instant)>,
}

/// The list that the keys move in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum List {
    #[default]
    Nodes,
    Tasks,
}

/// What lies above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Dialog {
    #[default]
    None,
    Help,
    /// Whether this task is to be cancelled.
    Cancel(String),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Quit,
    Drain(NodeId),
    Resume(NodeId),
    Cancel(String),
}

/// All nodes, in order.
pub fn nodes(state: &State) -> Vec<(&NodeId, &Seen)> {
    state.nodes.iter().collect()
}

/// Tasks that go on: those that run, then those that wait, each the oldest first.
pub fn tasks(state: &State) -> Vec<(&String, &Task)> {
    let mut tasks: Vec<_> = state.tasks.iter().filter(|(_, task)| !task.is_over()).collect();
    tasks.sort_by_key(|(name, task)| (!task.is_running(), task.began, name.as_str()));
    tasks
}

impl View {
    /// A key was pressed.
    pub fn press(&mut self, key: KeyCode, state: &State, now: Instant) -> Option<Action> {
        match std::mem::take(&mut self.dialog) {
            Dialog::None => {}
            // Any key closes it.
            Dialog::Help => return None,
            Dialog::Cancel(task) => {
                let is_meant = matches!(key, KeyCode::Char('y' | 'Y'));
                return is_meant.then_some(Action::Cancel(task));
            }
        }
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Action::Quit),
            KeyCode::Char('?' | 'h') => self.dialog = Dialog::Help,
            KeyCode::Tab | KeyCode::BackTab => self.list = self.list.other(),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1, state),
            KeyCode::Down | KeyCode::Char('j') => self.go(1, state),
            KeyCode::PageUp => self.go(-PAGE, state),
            KeyCode::PageDown => self.go(PAGE, state),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN, state),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX, state),
            KeyCode::Char('d') => return self.of_node(state, now).map(Action::Drain),
            KeyCode::Char('r') => return self.of_node(state, now).map(Action::Resume),
            KeyCode::Char('c') => self.ask_to_cancel(state, now),
            _ => {}
        }
        None
    }

    /// Where the selection is in the list of nodes; it stays with its node while others come and go.
    pub fn node_at(&self, state: &State) -> usize {
        let chosen = self.node.as_ref();
        nodes(state).iter().position(|(id, _)| Some(*id) == chosen).unwrap_or_default()
    }

    /// The same of the tasks.
    pub fn task_at(&self, state: &State) -> usize {
        let chosen = self.task.as_ref();
        tasks(state).iter().position(|(name, _)| Some(*name) == chosen).unwrap_or_default()
    }

    /// Says something to the person for a while.
    pub fn say(&mut self, text: impl Into<String>, now: Instant) {
        self.note = Some((text.into(), now));
    }

    /// What there is to be said.
    pub fn note(&self, now: Instant) -> Option<&str> {
        let fresh = self.note.as_ref().filter(|(_, at)| now.saturating_duration_since(*at) < NOTE);
        fresh.map(|(text, _)| text.as_str())
    }

    fn go(&mut self, by: isize, state: &State) {
        let moved = |at: usize, length: usize| at.saturating_add_signed(by).min(length.saturating_sub(1));
        match self.list {
            List::Nodes => {
                let nodes = nodes(state);
                self.node = nodes.get(moved(self.node_at(state), nodes.len())).map(|(id, _)| (*id).clone());
            }
            List::Tasks => {
                let tasks = tasks(state);
                self.task =
                    tasks.get(moved(self.task_at(state), tasks.len())).map(|(name, _)| (*name).clone());
            }
        }
    }

    fn of_node(&mut self, state: &State, now: Instant) -> Option<NodeId> {
        if self.list == List::Tasks {
            self.say("Select a node first: Tab goes to the nodes", now);
            return None;
        }
        let at = self.node_at(state);
        nodes(state).get(at).map(|(id, _)| (*id).clone())
    }

    fn ask_to_cancel(&mut self, state: &State, now: Instant) {
        let chosen = tasks(state).get(self.task_at(state)).map(|(name, _)| (*name).clone());
        match chosen {
            Some(task) if self.list == List::Tasks => self.dialog = Dialog::Cancel(task),
            Some(_) => self.say("Select a task first: Tab goes to the tasks", now),
            None => self.say("There is no task to cancel", now),
        }
    }
}

impl List {
    fn other(self) -> Self {
        match self {
            Self::Nodes => Self::Tasks,
            Self::Tasks => Self::Nodes,
        }
    }
}
