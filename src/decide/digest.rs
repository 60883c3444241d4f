//! What a reviewer signs off: the sorted steps and their ends, and the withdrawals that wait; not the time of day.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::model::{Plan, Stated, Step, Verb};

/// 64 hexadecimal digits. The same for every plan that does the same; a grant that begins with this very plan counts by its
/// stated terms, because its end depends on when that is.
pub fn digest(plan: &Plan) -> String {
    let mut text = String::from("grantd plan 1\n");
    for Step {
        verb,
        binding,
        holders,
        stated,
        until,
        cause: _,
        act_by: _,
        off: _,
        before: _,
        origin: _,
        intent: _,
        nonce: _,
    } in &plan.steps
    {
        let grants: Vec<_> = holders.keys().map(|id| id.as_str()).collect();
        let _ = write!(text, "{verb} {binding} by {}", grants.join(","));
        let _ = match stated.as_deref() {
            None if *verb == Verb::Revoke => writeln!(text),
            None => writeln!(text, " until={until}"),
            Some(Stated { from, ttl, until }) => {
                let moment = |at: &Option<_>| at.map_or_else(String::new, |at: jiff::Timestamp| at.to_string());
                writeln!(text, " from={} ttl={ttl} until={}", moment(from), moment(until))
            }
        };
    }
    for held in plan.held.iter().filter(|held| held.until.is_some()) {
        let _ = writeln!(text, "release {}", held.grant);
    }
    Sha256::digest(text).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
