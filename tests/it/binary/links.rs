//! The configuration behind links, as Kubernetes and release tools lay it out: what counts is what its path means now.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use super::{Daemon, GROUP, Site, grant, until};

const RELOADED: &str = "the configuration is reloaded";
/// Ends what is live.
const SHORTER: &str = "limits: { default_ttl: 1s, max_duration: 1s }\n";
/// Longer than any grant here lasts, and another configuration all the same.
const LONGER: &str = "limits: { max_duration: 20h }\n";

/// A site whose configuration's path is a link to this place, where `lay` puts the text.
fn behind(target: &str, lay: impl Fn(&Site, &str)) -> (Site, Daemon, String) {
    let site = Site::new();
    let good = fs::read_to_string(site.path("grantd.yaml")).unwrap();
    fs::remove_file(site.path("grantd.yaml")).unwrap();
    symlink(target, site.path("grantd.yaml")).unwrap();
    lay(&site, &good);
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("2026-11-20-jdoe-long", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    (site, daemon, good)
}

/// Each change comes into force by itself, and the last one ends what is live. `told`: by the kernel.
fn counts(site: &Site, daemon: Daemon, good: &str, told: bool, change: impl Fn(&Site, usize, &str)) {
    let begun = Instant::now();
    for (times, more) in [(1, LONGER), (2, ""), (3, SHORTER)] {
        assert!(site.in_group());
        change(site, times + 1, &format!("{good}{more}"));
        daemon.said_times(RELOADED, times);
    }
    // The kernel tells of links; only for what it does not tell of does the comparison every 5 s stand in.
    assert!(!told || begun.elapsed() < Duration::from_secs(9), "{:?} for three changes", begun.elapsed());
    until("access ends under the new limit", || (!site.in_group()).then_some(()));
    let log = daemon.stop();
    assert!(!log.contains("is not watched") && !log.contains("are not watched"), "{log}");
}

fn write(site: &Site, folder: &str, text: &str) {
    fs::create_dir_all(site.path(folder)).unwrap();
    fs::write(site.path(&format!("{folder}/grantd.yaml")), text).unwrap();
}

/// Makes a link to another place in one step.
fn point(site: &Site, link: &str, target: impl AsRef<Path>) {
    symlink(target, site.path(&format!("{link}_tmp"))).unwrap();
    fs::rename(site.path(&format!("{link}_tmp")), site.path(link)).unwrap();
}

#[test]
fn a_config_map_is_swapped() {
    let lay = |site: &Site, number: usize, text: &str| {
        write(site, &format!("..2026_{number}"), text);
        point(site, "..data", format!("..2026_{number}"));
        let _ = fs::remove_dir_all(site.path(&format!("..2026_{}", number - 1)));
    };
    let (site, daemon, good) = behind("..data/grantd.yaml", |site, text| lay(site, 1, text));
    counts(&site, daemon, &good, true, lay);
}

#[test]
fn a_folder_on_the_way_is_pointed_elsewhere_with_ln() {
    let lay = |site: &Site, number: usize, text: &str| {
        write(site, &format!("releases/{number}/etc"), text);
        let mut ln = Command::new("ln");
        let status =
            ln.args(["-sfn", &format!("releases/{number}"), "current"]).current_dir(site.folder.path()).status();
        assert!(status.unwrap().success());
    };
    let (site, daemon, good) = behind("current/etc/grantd.yaml", |site, text| lay(site, 1, text));
    counts(&site, daemon, &good, true, lay);
}

/// A link to a link to a link, relative, absolute and by `..`, the last of which is exchanged, and then the file that it means.
#[test]
fn any_link_of_a_chain_counts_and_so_does_the_file_at_its_end() {
    let lay = |site: &Site, number: usize, text: &str| {
        if number.is_multiple_of(2) {
            write(site, "deep/a/b", text);
            point(site, "deep/last.yaml", "a/../a/b/grantd.yaml");
        } else {
            // In place, through the whole chain.
            fs::write(site.path("grantd.yaml"), text).unwrap();
        }
    };
    let (site, daemon, good) = behind("links/one.yaml", |site, text| {
        fs::create_dir(site.path("links")).unwrap();
        symlink("../links/two.yaml", site.path("links/one.yaml")).unwrap();
        symlink(site.path("deep/last.yaml"), site.path("links/two.yaml")).unwrap();
        lay(site, 2, text);
        write(site, "deep", text);
        point(site, "deep/last.yaml", "grantd.yaml");
    });
    counts(&site, daemon, &good, true, lay);
}

/// No link changes here, and nothing in the folder that holds the file.
#[test]
fn a_folder_on_the_way_is_exchanged_for_another() {
    let lay = |site: &Site, number: usize, text: &str| {
        write(site, "next/etc/grantd", text);
        if number > 1 {
            fs::rename(site.path("conf"), site.path(&format!("old-{number}"))).unwrap();
        }
        fs::rename(site.path("next"), site.path("conf")).unwrap();
    };
    let (site, daemon, good) = behind("conf/etc/grantd/grantd.yaml", |site, text| lay(site, 1, text));
    counts(&site, daemon, &good, false, lay);
}

/// The way breaks off for a while: that is refused and told, and what comes after it counts.
#[test]
fn a_way_that_was_broken_and_is_mended_counts() {
    let (site, daemon, good) = behind("..data/grantd.yaml", |site, text| {
        write(site, "..one", text);
        point(site, "..data", "..one");
    });
    for (times, break_it) in
        ["rm ..data", "ln -sfn nowhere ..data", "ln -sfn ..data ..data", "rm -r ..one"].iter().enumerate()
    {
        let done = Command::new("sh").args(["-c", break_it]).current_dir(site.folder.path()).status().unwrap();
        assert!(done.success(), "{break_it}");
        daemon.said_times("the new configuration is refused", times + 1);
        assert!(site.in_group());
        let more = format!("{good}limits: {{ max_duration: {}h }}\n", 12 + times);
        write(&site, "..one", &more);
        point(&site, "..data", "..one");
        daemon.said_times(RELOADED, times + 1);
    }
    write(&site, "..one", &format!("{good}{SHORTER}"));
    until("access ends under the new limit", || (!site.in_group()).then_some(()));
    daemon.stop();
}
