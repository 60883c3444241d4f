//! Windows instances that are in moto's EC2 and among SSM's hosts, under one id.

use grantd::surface::world::{Host, Power};

use super::{caller::Caller, cloud::Cloud};

/// The only image that this moto has: images.json.
const WINDOWS: &str = "ami-0a000000000000001";

impl Cloud {
    /// Starts a Windows instance with these tags. Answers its id.
    pub fn windows(&self, account: &str, region: &str, tags: &[(&str, &str)]) -> String {
        self.windows_like(account, region, tags, Host::default())
    }

    /// The same, with a host that is so from the start. Its tags and its power are set here.
    pub fn windows_like(&self, account: &str, region: &str, tags: &[(&str, &str)], host: Host) -> String {
        let numbered = tags.iter().enumerate().flat_map(|(at, (key, value))| {
            let begin = format!("TagSpecification.1.Tag.{}", at + 1);
            [(format!("{begin}.Key"), *key), (format!("{begin}.Value"), *value)]
        });
        let numbered: Vec<_> = numbered.collect();
        let mut pairs = vec![("ImageId", WINDOWS), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        if !tags.is_empty() {
            pairs.push(("TagSpecification.1.ResourceType", "instance"));
        }
        pairs.extend(numbered.iter().map(|(name, value)| (name.as_str(), *value)));
        let answer = Caller::of_moto(account, region).fine_form("ec2", "RunInstances", &pairs);
        let id = super::one(&answer, "instanceId");
        let tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let host = Host { tags, state: Power::Running, ..host };
        self.hosts(account, region, |hosts| hosts.insert(id.clone(), host));
        id
    }

    /// Stops, starts or terminates an instance.
    pub fn power(&self, account: &str, region: &str, instance: &str, power: Power) {
        let action = match power {
            Power::Running => "StartInstances",
            Power::Stopped => "StopInstances",
            Power::Terminated => "TerminateInstances",
        };
        Caller::of_moto(account, region).fine_form("ec2", action, &[("InstanceId.1", instance)]);
        self.hosts(account, region, |hosts| hosts.get_mut(instance).unwrap().state = power);
    }

    /// Gives an instance a tag, or takes it away.
    pub fn tag(&self, account: &str, region: &str, instance: &str, key: &str, value: Option<&str>) {
        let mut pairs = vec![("ResourceId.1", instance), ("Tag.1.Key", key)];
        pairs.extend(value.map(|value| ("Tag.1.Value", value)));
        let action = if value.is_some() { "CreateTags" } else { "DeleteTags" };
        Caller::of_moto(account, region).fine_form("ec2", action, &pairs);
        self.hosts(account, region, |hosts| {
            let tags = &mut hosts.get_mut(instance).unwrap().tags;
            match value {
                Some(value) => tags.insert(key.into(), value.into()),
                None => tags.remove(key),
            };
        });
    }
}
