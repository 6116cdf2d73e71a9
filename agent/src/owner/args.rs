//! The flags with which an owner decides. `echo-mesh up` and `join` have them too, and pass them on.

use std::time::Duration;

use echo_bus::process::BadConfig;
use echo_bus::time;
use jiff::tz::TimeZone;

use super::busy::{Limits, Patience};
use super::hours::{Hours, Window};
use super::offer::{Offer, Pattern};
use super::rules::Rules;

const HEADING: &str = "What this machine gives to others";
const HOUR: Duration = Duration::from_secs(3_600);

/// What the owner of a machine lets others have of it.
#[derive(Debug, Clone, clap::Args)]
pub struct OwnerArgs {
    /// Take tasks only in these hours, by this machine's clock: 22:00-07:00 or mon-fri 22:00-07:00; several with commas
    ///
    /// Outside of them the node finishes what runs and takes nothing new. A time that ends before it begins ends on the next
    /// day. An order to drain or to resume holds until the hours change.
    #[arg(long, env = "ECHO_HOURS", value_name = "HOURS", value_delimiter = ',', help_heading = HEADING)]
    hours: Vec<Window>,

    /// Offer at most so many slots, however many the engine has; --slots says how many it has
    #[arg(long, env = "ECHO_MAX_SLOTS", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16384), help_heading = HEADING)]
    max_slots: Option<u32>,

    /// Offer only these models: names or patterns such as llama3*, with commas between
    #[arg(long, env = "ECHO_MODELS", value_name = "NAMES", value_delimiter = ',', help_heading = HEADING)]
    models: Vec<Pattern>,

    /// Take nothing new while other programs use more than this share of the processor, or of GPU memory: 0.5
    ///
    /// All cores together count as 1. It takes ten seconds to pause and thirty to go on. cpu=0.5,gpu=0.8 tells the two apart,
    /// and one of them alone leaves the other out. GPU memory is known of NVIDIA's, by nvidia-smi.
    #[arg(long, env = "ECHO_PAUSE_ON_LOAD", value_name = "SHARE", help_heading = HEADING)]
    pause_on_load: Option<Limits>,

    /// How long others must need the machine before the node pauses
    #[arg(long, env = "ECHO_PAUSE_AFTER", value_name = "TIME", default_value = "10s", hide = true, value_parser = time::between(Duration::ZERO, HOUR))]
    pause_after: Duration,

    /// How long the machine must be calm before the node goes on
    #[arg(long, env = "ECHO_RESUME_AFTER", value_name = "TIME", default_value = "30s", hide = true, value_parser = time::between(Duration::ZERO, HOUR))]
    resume_after: Duration,
}

impl OwnerArgs {
    /// Checks them together.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn check(&self) -> Result<Rules, BadConfig> {
        if !self.hours.is_empty() {
            let unknown = "the time zone of this machine is not known, and --hours needs it: install the package tzdata, \
                           or set TZ, such as TZ=UTC";
            TimeZone::try_system().map_err(|error| BadConfig(format!("{unknown} ({error})")))?;
        }
        let patience = Patience { pause: self.pause_after, resume: self.resume_after };
        Ok(Rules {
            hours: Hours::of(&self.hours).map_err(BadConfig)?,
            max_slots: self.max_slots,
            offer: Offer::of(&self.models).map_err(BadConfig)?,
            busy: self.pause_on_load.map(|limits| (limits, patience)),
        })
    }

    /// The same flags again, for an agent that is started with them. What was not given stays out.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        let mut give = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        self.hours.iter().for_each(|window| give("--hours", window.to_string()));
        self.max_slots.iter().for_each(|slots| give("--max-slots", slots.to_string()));
        self.models.iter().for_each(|pattern| give("--models", pattern.to_string()));
        if let Some(limits) = self.pause_on_load {
            give("--pause-on-load", limits.to_string());
            give("--pause-after", format!("{}ms", self.pause_after.as_millis()));
            give("--resume-after", format!("{}ms", self.resume_after.as_millis()));
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        owner: OwnerArgs,
    }

    fn parse<S: AsRef<str>>(args: &[S]) -> Result<OwnerArgs, clap::Error> {
        let args = args.iter().map(|it| it.as_ref().to_owned());
        Command::try_parse_from(std::iter::once("x".to_owned()).chain(args)).map(|it| it.owner)
    }

    #[test]
    fn a_child_that_gets_them_again_decides_the_same() {
        for args in [
            &[][..],
            &["--hours", "22:00-07:00,sat-sun 00:00-24:00", "--hours", "mon 12:00-13:00", "--models", "a,b*"],
            &[
                "--max-slots",
                "2",
                "--pause-on-load",
                "cpu=0.5",
                "--pause-after",
                "1s",
                "--resume-after",
                "1500ms",
            ],
        ] {
            let once = parse(args).unwrap();
            let again = parse(&once.to_args()).unwrap();
            assert_eq!(format!("{once:?}"), format!("{again:?}"));
            assert_eq!(format!("{:?}", once.check().unwrap()), format!("{:?}", again.check().unwrap()));
        }
    }

    #[test]
    fn bad_values_are_refused_with_a_sentence() {
        for (args, word) in [
            (["--hours", "22-7"], "HH:MM-HH:MM"),
            (["--hours", "someday 22:00-07:00"], "is no day"),
            (["--max-slots", "0"], "1..=16384"),
            (["--models", "a,,b"], "names no model"),
            (["--pause-on-load", "50"], "0.01 to 1"),
        ] {
            let error = parse(&args).expect_err(args[1]).to_string();
            assert!(error.contains(word), "{args:?}: {error}");
        }
        let many = vec!["m"; 65].join(",");
        assert!(
            parse(&["--models", &many]).unwrap().check().unwrap_err().to_string().contains("64 are enough")
        );
        let many = vec!["22:00-07:00"; 65].join(",");
        assert!(
            parse(&["--hours", &many]).unwrap().check().unwrap_err().to_string().contains("64 are enough")
        );
    }

    /// What is read is written as it was meant.
    #[test]
    fn spoilt_hours_shares_and_patterns() {
        use crate::owner::{busy::Limits, hours::Window, offer::Pattern};
        let seeds =
            ["mon-fri 18:00-08:00", "Sat 22:00-6:00", "0.5", "cpu=0.5,gpu=0.8", "llama3*", "*?*?*a*:latest"];
        echo_fuzz::parser("hours, shares, patterns of models", &seeds, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let (window, limits, pattern) =
                (text.parse::<Window>(), text.parse::<Limits>(), text.parse::<Pattern>());
            if let Ok(window) = &window {
                assert_eq!(window.to_string().parse().as_ref(), Ok(window));
            }
            if let Ok(limits) = &limits {
                assert_eq!(limits.to_string().parse().as_ref(), Ok(limits));
            }
            if let Ok(pattern) = &pattern {
                let offer = crate::owner::offer::Offer::of(std::slice::from_ref(pattern)).unwrap();
                offer.has(&"a".repeat(500));
                offer.has(&text);
            }
            window.is_ok() || limits.is_ok() || pattern.is_ok()
        });
    }
}
