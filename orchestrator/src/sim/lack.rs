//! What agents do not measure or tell: for finding out what that is worth.

/// One thing that all agents of a mesh lack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lack {
    #[default]
    Nothing,
    /// It says that a load takes no time.
    Loads,
    /// It does not say that an answer ended with a tool call.
    Tools,
    /// It takes cached prompt tokens for tokens that were worked off.
    Uncached,
    Lengths,
    /// It tries nothing when it starts.
    Calibration,
    /// It looks at no running answers.
    Running,
    /// It says of each speed that it was measured just now.
    Ages,
}
