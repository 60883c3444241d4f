//! The files that a configuration names, and that decide what Git and the forges are taken to say.

use std::path::{Path, PathBuf};

use crate::{
    config::{Config, trust},
    hooks,
    model::{Account, Text, secret_file},
    source::{
        self,
        forge::{self, Github, Gitlab},
    },
};

/// Each by the name of its field. Not the keys whose signatures count: these are looked at whenever they are read. Every field is
/// named here, so that a new one is not forgotten.
pub fn trusted(config: &Config, credentials: Option<&Path>) -> Vec<(Text, PathBuf)> {
    let Config {
        source,
        accounts,
        trust,
        hooks,
        state: _,
        cloud: _,
        limits: _,
        sweep: _,
        people: _,
        shared: _,
        rules: _,
        drift: _,
        windows_admin: _,
        permission_set: _,
    } = config;
    let source::Settings { url: _, branch: _, path: _, poll: _, ssh_key, token, known_hosts } = source;
    let trust::Settings { level: _, approvals_required: _, keys: _, forge, max_age: _ } = trust;
    let forge = forge.as_ref().map(|forge| match forge {
        forge::Settings::Github(Github { token, repository: _, id: _, api: _ })
        | forge::Settings::Gitlab(Gitlab { token, id: _, api: _ }) => token,
    });
    let hook = |which: fn(&hooks::Settings) -> &Option<String>| hooks.as_ref().and_then(|hooks| which(hooks).as_ref());
    let mut found: Vec<(Text, PathBuf)> = known_hosts.iter().map(|path| ("known_hosts".into(), path.clone())).collect();
    let mut secret = |name: &str, value: Option<&str>| {
        let file = value.and_then(|value| secret_file(name, value, credentials).ok());
        found.extend(file.map(|file| (name.into(), file)));
    };
    secret("ssh_key", ssh_key.as_deref());
    secret("token", token.as_deref());
    secret("token of the forge", forge.map(String::as_str));
    secret("secret of GitHub's webhook", hook(|hooks| &hooks.github).map(String::as_str));
    secret("secret of GitLab's webhook", hook(|hooks| &hooks.gitlab).map(String::as_str));
    for Account { id: _, role: _, external_id, regions: _ } in accounts.values() {
        secret("external_id", external_id.as_deref());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_trusted_is_named() {
        let text = "source: { url: \"git@forge.corp.example:a.git\", ssh_key: credential:deploy-key, known_hosts: /etc/hosts }\n\
                    state: state\ncloud: { world: world.yaml }\n\
                    hooks: { github: /etc/github, gitlab: credential:gitlab }\n\
                    trust: { forge: { gitlab: { id: 1, token: /etc/forge, api: \"https://gitlab.corp.example/api/v4\" } } }\n\
                    accounts: { prod: { id: \"123456789012\", role: \"arn:aws:iam::123456789012:role/x\", external_id: /etc/external } }\n";
        let config = Config::parse(text).unwrap();
        let files = |credentials: Option<&str>| {
            let files = trusted(&config, credentials.map(Path::new));
            files.into_iter().map(|(_, path)| path.display().to_string()).collect::<Vec<_>>()
        };
        let plain = ["/etc/hosts", "/etc/forge", "/etc/github", "/etc/external"];
        assert_eq!(files(None), plain);
        let all = ["/etc/hosts", "/run/x/deploy-key", "/etc/forge", "/etc/github", "/run/x/gitlab", "/etc/external"];
        assert_eq!(files(Some("/run/x")), all);
    }
}
