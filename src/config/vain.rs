//! Settings that would be taken and do nothing, or something else than they say: a folder named `~`, a rule that never matches, a
//! protected name that no grant can hold, a time by which everything is late.

use std::path::Path;

use crate::{
    model::{Kind, Pattern, Rule, Target, Trust, When, like},
    surface,
};

use super::{Cloud, Config, trust::trusted};

static REGION: Pattern = Pattern::new("a region", "^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$", 32, "write `us-east-1`");

pub fn wrong(config: &Config) -> Vec<String> {
    let Config { source, state, cloud, accounts, limits, trust, people, rules, permission_set, .. } = config;
    let mut wrong = Vec::new();
    wrong.extend(place("state", state, "/var/lib/grantd"));
    if let Cloud::World(world) = cloud {
        wrong.extend(place("cloud: world", &world.world, "/var/lib/grantd/world.yaml"));
    }
    for (what, limit) in [("trust: max_age", trust.max_age), ("limits: stale_after", limits.stale_after)] {
        if source.poll >= limit {
            let poll = source.poll;
            wrong.push(format!("{what}: Git is asked every {poll}, so that after {limit} everything would be too old: write more than `poll`, or a shorter `poll`"));
        }
    }
    for (name, account) in accounts {
        let odd = account.regions.iter().find(|region| !REGION.matches(region));
        wrong.extend(odd.map(|odd| format!("accounts: {name}: regions: `{odd}` is no region: {}", REGION.hint)));
    }
    if let Some(center) = permission_set.as_ref().filter(|center| !REGION.matches(&center.region)) {
        wrong.push(format!("permission-set: region: `{}` is no region: {}", center.region, REGION.hint));
    }
    let targets = surface::targets();
    let protected = &limits.protected;
    for (list, field, names) in [
        ("policies", "policy", &protected.policies),
        ("roles", "role", &protected.roles),
        ("groups", "group", &protected.groups),
        ("users", "user", &protected.users),
        ("sets", "set", &protected.sets),
    ] {
        let odd = names.iter().find(|name| !fits(&targets, field, name));
        wrong.extend(odd.map(|odd| {
            format!("limits: protected: {list}: no grant can hold `{odd}`, so it would protect nothing: write the whole name, without `*` (a policy's ARN may stand there too)")
        }));
    }
    let needs = trusted(config);
    let most = people.len();
    if needs.level == Trust::Approved && needs.approvals as usize > most && most > 0 {
        wrong.push(format!(
            "trust: approvals_required: it is {}, and `people` has {most}: nothing could ever be granted",
            needs.approvals
        ));
    }
    for (name, person) in people {
        if person.github == Some(0) || person.gitlab == Some(0) {
            wrong.push(format!("people: {name}: 0 is nobody's id: write the number that the forge shows"));
        }
    }
    for (index, rule) in rules.iter().enumerate() {
        let name = if rule.name.is_empty() { (index + 1).to_string() } else { format!("`{}`", rule.name) };
        if let Some(count) = rule.approvals_required.filter(|count| *count as usize > most) {
            wrong.push(format!(
                "rules: {name}: approvals_required: it is {count}, and `people` has {most}: nothing could ever pass"
            ));
        }
        let never = never(rule, config, &targets);
        wrong.extend(never.map(|(key, why)| format!("rules: {name}: match: {key}: {why}, so it would never match")));
    }
    wrong
}

/// A path as a shell would read it, and nobody else does.
fn place(what: &str, path: &Path, example: &str) -> Option<String> {
    let text = path.to_string_lossy();
    let why = if text.is_empty() {
        "is empty"
    } else if text.starts_with('~') {
        "begins with `~`, which only a shell knows"
    } else if text.contains("${") || variable(&text, '$') || variable(&text, '%') {
        "holds a variable, which nothing here fills in"
    } else if text.trim() != text || text.chars().any(char::is_control) {
        "holds blanks at an end or control characters"
    } else {
        return None;
    };
    Some(format!("{what}: `{}` {why}: write the whole path, such as `{example}`", text.escape_debug()))
}

fn variable(text: &str, mark: char) -> bool {
    text.split(mark).skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Whether an entry of some surface can hold this word in that field.
fn fits(targets: &[Box<dyn Target>], field: &str, word: &str) -> bool {
    let fields = targets.iter().flat_map(|target| target.fields()).filter(|one| one.name == field);
    let mut patterns = fields.filter_map(|field| match field.kind {
        Kind::Word(pattern) => Some(pattern),
        Kind::Account | Kind::Region | Kind::Tags(..) => None,
    });
    patterns.any(|pattern| pattern.matches(word))
}

/// The key by which a rule matches nothing, and why.
fn never(rule: &Rule, config: &Config, targets: &[Box<dyn Target>]) -> Option<(&'static str, String)> {
    let When { account, surface, region, role, policy, group, set, principal, path } = &rule.when;
    if let Some(account) = account {
        let known = config.accounts.iter().any(|(name, known)| like(account, name) || like(account, &known.id));
        if !known {
            return Some(("account", format!("`{account}` is not under `accounts`")));
        }
    }
    let of = |surface: &str| targets.iter().filter(|target| like(surface, target.surface())).collect::<Vec<_>>();
    let surfaces = of(surface.as_deref().unwrap_or("*"));
    if surfaces.is_empty() {
        let all: Vec<&str> = targets.iter().map(|target| target.surface()).collect();
        return Some(("surface", format!("there is none such: write one of {}", all.join(", "))));
    }
    if let Some(region) = region
        && !config.accounts.values().flat_map(|account| &account.regions).any(|known| like(region, known))
    {
        return Some(("region", format!("no account has `{region}` under `regions`")));
    }
    let words = [("role", role), ("policy", policy), ("group", group), ("set", set)];
    for (field, word) in words {
        if let Some(word) = word.as_ref().filter(|word| !word.contains('*'))
            && !fits(targets, field, word)
        {
            return Some((field, format!("no grant can hold `{word}`")));
        }
    }
    // All the keys must be those of one surface.
    let given =
        words.into_iter().chain([("region", region)]).filter(|(_, word)| word.is_some()).map(|(field, _)| field);
    let given: Vec<&'static str> = given.collect();
    let has = |target: &dyn Target, field: &str| target.fields().iter().any(|one| one.name == field);
    if let Some(last) = given.last()
        && !surfaces.iter().any(|target| given.iter().all(|field| has(target.as_ref(), field)))
    {
        return Some((last, format!("no surface that it is for has {} together", given.join(" and "))));
    }
    if let Some(principal) = principal {
        let head = principal.split('*').next().unwrap_or_default().to_ascii_lowercase();
        let whole = !principal.contains('*');
        let kinds = ["windows:user/", "iam:user/", "iam:role/", "iam:group/", "sso:user/", "sso:group/"];
        let possible = |kind: &&str| {
            head.starts_with(*kind) && (!whole || head.len() > kind.len()) || !whole && kind.starts_with(&head)
        };
        if !kinds.iter().any(possible) {
            return Some((
                "principal",
                format!(r"`{principal}` is nobody: write `windows:user/CORP\*`, `iam:role/Ops*` or `sso:user/*`"),
            ));
        }
    }
    let folder = format!("{}/", config.source.path);
    let outside = |path: &str| {
        let head = path.split('*').next().unwrap_or_default().to_ascii_lowercase();
        let folder = folder.to_ascii_lowercase();
        !(head.starts_with(&folder) || path.contains('*') && folder.starts_with(&head))
    };
    path.as_ref().filter(|path| outside(path)).map(|path| ("path", format!("`{path}` is not below `{folder}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(more: &str) -> String {
        let base = if more.contains("state:") { "" } else { "state: state\n" };
        let cloud = if more.contains("cloud:") { "" } else { "cloud: { world: world.yaml }\n" };
        let source = if more.contains("source:") { "" } else { "source: { url: /srv/access.git }\n" };
        let text = format!(
            "{source}{base}{cloud}accounts: {{ prod: {{ id: \"123456789012\", regions: [us-east-1, us-gov-west-1] }} }}\n{more}"
        );
        Config::parse(&text).map_or_else(|error| error.0, |_| "fine".into())
    }

    #[test]
    fn a_path_that_only_a_shell_reads_is_refused() {
        for bad in [
            "~/state",
            "\"~\"",
            "~grantd/state",
            "$HOME/state",
            "\"${STATE}\"",
            "\"%S/grantd\"",
            "\"\"",
            "\"state \"",
            "\" state\"",
            "\"a\\nb\"",
        ] {
            for text in [
                format!("state: {bad}\n"),
                format!(
                    "cloud: {{ world: {} }}\n",
                    if bad.starts_with('"') { bad.to_owned() } else { format!("\"{bad}\"") }
                ),
            ] {
                assert!(said(&text).contains("write the whole path"), "{text}: {}", said(&text));
            }
        }
        for good in ["state", "./state", "../state", "/var/lib/grantd", "\"a b\"", "a~b", "50%"] {
            assert_eq!(said(&format!("state: {good}\n")), "fine", "{good}");
        }
    }

    #[test]
    fn times_by_which_everything_is_late_are_refused() {
        assert!(said("source: { url: /srv/a.git, poll: 1d }\n").contains("everything would be too old"));
        assert!(said("trust: { max_age: 30s }\n").contains("trust: max_age: Git is asked every 30s"));
        assert!(said("limits: { stale_after: 10s }\n").contains("limits: stale_after"));
        assert_eq!(said("trust: { max_age: 31s }\nlimits: { stale_after: 31s }\n"), "fine");
    }

    #[test]
    fn what_protects_nothing_is_refused() {
        for (list, bad) in [
            ("policies", "Admin*"),
            ("policies", ""),
            ("roles", "arn:aws:iam::123456789012:role/Breakglass"),
            ("roles", "ops/Breakglass"),
            ("groups", "arn:aws:iam::123456789012:group/x"),
            ("users", "jdoe*"),
            ("users", "corp.example\\\\jdoe x"),
            ("sets", "arn:aws:sso:::permissionSet/ssoins-1/ps-1"),
        ] {
            let text = format!("limits: {{ protected: {{ {list}: [\"{bad}\"] }} }}\n");
            assert!(said(&text).contains("protect nothing"), "{text}: {}", said(&text));
        }
        let good = r#"limits: { protected: { policies: [AdministratorAccess, "job-function/Billing", "arn:aws:iam::aws:policy/IAMFullAccess"],
  roles: [Breakglass], groups: [Auditors, "Cloud Operators"], users: [jdoe, jdoe@corp.example, 'CORP\jdoe'], sets: [PowerUser] } }
"#;
        assert_eq!(said(good), "fine");
    }

    #[test]
    fn a_rule_that_never_matches_is_refused() {
        let rule = |when: &str| said(&format!("rules: [{{ name: x, match: {{ {when} }}, max_duration: 4h }}]\n"));
        for bad in [
            "account: prd",
            "account: prd*",
            "account: \"\"",
            "surface: windows-admn",
            "surface: aws*",
            "region: eu-west-1",
            "role: \"arn:aws:iam::123456789012:role/Ops\"",
            "role: \"\"",
            "set: \"a b\"",
            "surface: iam-group, role: Ops",
            "role: Ops, set: PowerUser",
            "surface: permission-set, region: us-east-1",
            "principal: jdoe",
            "principal: \"user:*\"",
            "principal: \"iam:role/\"",
            "path: prod/*",
            "path: \"/grants/*\"",
            "path: ./grants/x.yaml",
        ] {
            assert!(rule(bad).contains("would never match"), "{bad}: {}", rule(bad));
        }
        for good in [
            "",
            "account: PROD",
            "account: \"*\"",
            "account: \"123456789012\"",
            "surface: \"iam-*\", role: Ops",
            "region: us-*",
            "policy: \"arn:aws:iam::*:policy/x\"",
            "policy: \"arn:aws-cn:iam::aws:policy/job-function/Billing\"",
            "principal: \"windows:user/CORP\\\\*\"",
            "principal: \"*jdoe\"",
            "principal: \"IAM:role/ops\"",
            "path: grants/prod/*",
            "path: \"*prod*\"",
            "path: \"gr*\"",
        ] {
            assert_eq!(rule(good), "fine", "{good}");
        }
    }

    #[test]
    fn approvals_that_nobody_could_give_are_refused() {
        let people = "people: { a: {}, b: {} }\n";
        assert!(said(&format!("{people}rules: [{{ name: x, approvals_required: 3 }}]\n")).contains("`people` has 2"));
        assert!(said("people: { a: { github: 0 } }\n").contains("nobody's id"));
        let keys = "keys: { signers: /etc/grantd/signers }";
        assert!(
            said(&format!("{people}trust: {{ level: approved, approvals_required: 3, {keys} }}\n"))
                .contains("`people` has 2")
        );
        assert_eq!(said(&format!("{people}trust: {{ level: approved, approvals_required: 2, {keys} }}\n")), "fine");
    }

    #[test]
    fn regions_have_their_form() {
        assert!(said("permission-set: { account: prod, region: us-east1 }\n").contains("is no region"));
        assert_eq!(said("permission-set: { account: prod, region: us-gov-west-1 }\n"), "fine");
    }
}
