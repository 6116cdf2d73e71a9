//! How many files a part may have open.

use echo_bus::process;

use super::finding::Looked;

/// Each client is one, and so is each engine's stream.
const FEW: usize = 4_096;

pub async fn look() -> Looked {
    // As the parts do at their start: what counts is the hard limit.
    process::raise_open_files();
    let limit = process::open_files();
    if limit >= FEW {
        return Looked::seen("the limit of open files");
    }
    Looked::wrong(
        format!("a program may have only {limit} files open"),
        "the edge turns clients away that are more than that",
        "raise the limit for whoever starts the mesh: ulimit -Hn 65536, LimitNOFILE= in a systemd unit, or \
         /etc/security/limits.conf",
    )
}
