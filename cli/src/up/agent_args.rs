//! What each agent is told: what the owner of this machine gives to others.

use echo_agent::OwnerArgs;
use echo_bus::process::BadConfig;

/// Flags of agents that `up` and `join` pass on.
#[derive(Debug, Clone, clap::Args)]
pub struct AgentArgs {
    #[command(flatten)]
    owner: OwnerArgs,

    /// Let the mesh's users pull and delete models on this machine
    #[arg(long, env = "ECHO_ALLOW_MODEL_MANAGEMENT")]
    allow_model_management: bool,

    /// Do not try the speed of a model in memory, with one short request for each start of the engine
    #[arg(long, env = "ECHO_NO_CALIBRATION")]
    no_calibration: bool,
}

impl AgentArgs {
    /// The flags for an agent.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn flags(&self) -> Result<Vec<String>, BadConfig> {
        self.owner.check()?;
        let mut flags = self.owner.to_args();
        let switches = [
            (self.allow_model_management, "--allow-model-management"),
            (self.no_calibration, "--no-calibration"),
        ];
        flags.extend(switches.into_iter().filter(|(on, _)| *on).map(|(_, flag)| flag.to_owned()));
        Ok(flags)
    }
}
