//! The configuration file, and the variables beside it.

use super::finding::Looked;
use super::scene::Scene;
use crate::config;

pub async fn look(scene: &Scene) -> Looked {
    let mend = "mend it there; `echo-mesh config` shows what is in force, `echo-mesh config --example` every setting";
    let file = match config::checked(scene.named.clone(), &scene.commands) {
        Ok(file) => file,
        Err(bad) => {
            let why = "no command starts before it is right";
            return Looked::wrong(format!("the configuration file is wrong: {bad}"), why, mend);
        }
    };
    let looked =
        Looked::seen(file.map_or("no configuration file".to_owned(), |path| path.display().to_string()));
    config::bad_variables(&scene.commands).into_iter().fold(looked, |looked, bad| {
        looked.and_wrong(
            format!("a variable of the environment is wrong: {bad}"),
            "its command does not start",
            mend,
        )
    })
}
