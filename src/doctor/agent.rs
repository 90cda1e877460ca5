//! Checks the agent, if commands are to use one.

use super::finding::Finding;
use crate::{
    agent::{self, Ask, Refused},
    app::{self, App},
    files::untrusted,
};

const CHECK: &str = "agent";
/// Ends the agent, or takes its name from one that does not answer.
const STOP: &str = "git bbtoken agent stop";

pub(super) fn check(app: &App) -> Option<Finding> {
    let is_eligible = app.used(None).ok()?.agent_use()?;
    if !is_eligible {
        let text = "not used: it keeps only https connections that one file of certificates verifies, without a proxy or a client certificate";
        return Some(Finding::good(CHECK, text, "not used"));
    }
    let place = match app::agent_place() {
        Ok(place) => place,
        Err(none) => {
            let text = format!("commands cannot use the agent: {none}");
            let found = Finding::note(CHECK, text, "no place for its socket");
            let remedy = untrusted(&none).map(|none| none.remedy.trim_start_matches("run: "));
            return Some(match remedy {
                Some(remedy) => found.fix(remedy),
                None => found,
            });
        }
    };
    Some(match agent::ask(&place, &Ask::Status) {
        Ok(status) if status.network != agent::network() => {
            let text = "it runs in another network namespace, such as a container's; commands here make their own connections";
            Finding::note(CHECK, text, "in another network namespace").fix(STOP)
        }
        Ok(_) => Finding::good(CHECK, "it keeps connections open", "running"),
        Err(Refused::Absent) => Finding::good(CHECK, "the next command starts it", "not running"),
        Err(Refused::Silent(_) | Refused::No(_)) => {
            let text = "it does not answer; commands make their own connections";
            Finding::note(CHECK, text, "does not answer").fix(STOP)
        }
    })
}
