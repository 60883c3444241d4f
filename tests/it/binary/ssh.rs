//! A real sshd on loopback, for this user, with keys of its own: what a Git server is to the daemon.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{Daemon, GROUP, Site, grant, root, until};

/// Ended when it is dropped.
struct Server(Child);

impl Server {
    /// Shows the host key of that name, lets in whoever has the key `login`.
    fn start(site: &Site, host_key: &str, port: u16) -> Self {
        // Where Debian's sshd wants to lock itself into; only root's does.
        if root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let path = |name: &str| site.path(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n",
            path(host_key),
            path("login.pub"),
        );
        let file = site.path("sshd.conf");
        fs::write(&file, config).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        let sshd = sshd.args(["-D", "-e", "-f"]).arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = sshd.spawn().expect("scripts/test installs sshd");
        until("sshd listens", || {
            assert!(child.try_wait().unwrap().is_none(), "sshd ended");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn keygen(path: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    let done = keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "grantd-test", "-f"]).arg(path).status().unwrap();
    assert!(done.success());
}

/// The private part of a key, without its first and last line.
fn secret(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.starts_with("-----")).collect::<Vec<_>>().concat()
}

fn user() -> String {
    let id = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(id.stdout).unwrap().trim().to_owned()
}

/// A file of known hosts that lists the server with a key.
fn trust(site: &Site, name: &str, port: u16, key: &str) -> PathBuf {
    let path = site.path(name);
    fs::write(&path, format!("[127.0.0.1]:{port} {}", fs::read_to_string(site.path(key)).unwrap())).unwrap();
    path
}

#[test]
fn over_ssh_only_a_listed_host_key_is_trusted() {
    let site = Site::bare();
    for key in ["host", "impostor", "login"] {
        keygen(&site.path(key));
    }
    fs::create_dir(site.path("credentials")).unwrap();
    fs::copy(site.path("login"), site.path("credentials/deploy-key")).unwrap();
    fs::set_permissions(site.path("credentials/deploy-key"), fs::Permissions::from_mode(0o600)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(&site, "host", port);
    let configure = |hosts: &Path| {
        let url = format!("ssh://{}@127.0.0.1:{port}{}", user(), site.path("access.git").display());
        let key = "  ssh_key: credential:deploy-key\n";
        site.configure(&format!("  url: {url}\n{key}  known_hosts: {}\n", hosts.display()), "");
    };
    let run = |arguments: &[&str]| {
        let mut command = site.command(arguments);
        command.env("CREDENTIALS_DIRECTORY", site.path("credentials"));
        command
    };

    // A host that is not listed, and one that is listed with another key.
    let nobody = site.path("known-nobody");
    fs::write(&nobody, "").unwrap();
    for hosts in [nobody, trust(&site, "known-impostor", port, "impostor.pub")] {
        configure(&hosts);
        let init = run(&["init"]).output().unwrap();
        let said = String::from_utf8_lossy(&init.stderr).into_owned();
        assert_eq!(init.status.code(), Some(1), "{said}");
        assert!(said.contains("Host key verification failed"), "{said}");
    }

    configure(&trust(&site, "known-host", port, "host.pub"));
    let init = run(&["init"]).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let daemon = Daemon::start({
        let mut command = run(&["run"]);
        command.env("GRANTD_LOG", "trace");
        command
    });
    daemon.said("grantd runs");
    site.merge("2026-11-20-jdoe-long", &grant("8s", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    // An impostor takes the server's place: nothing new is granted, and the end comes.
    drop(server);
    let impostor = Server::start(&site, "impostor", port);
    daemon.said("Git cannot be read");
    until("jdoe is out of the group", || (!site.in_group()).then_some(()));
    drop(impostor);
    let log = daemon.stop();
    assert!(log.contains("Host key verification failed"), "{log}");
    assert!(!log.contains(&secret(&site.path("login"))[..60]), "{log}");
}

#[test]
fn a_path_over_ssh_is_no_text_for_a_shell() {
    let site = Site::bare();
    for key in ["host", "login"] {
        keygen(&site.path(key));
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = Server::start(&site, "host", port);
    let hosts = trust(&site, "known", port, "host.pub");
    let name = "it's \"a\" $(touch pwned-by-grantd) `touch pwned-by-grantd`; touch pwned-by-grantd & #x";
    std::os::unix::fs::symlink(site.path("access.git"), site.path(name)).unwrap();
    let whole = site.path(name).display().to_string();
    let home = Command::new("sh").args(["-c", "printf %s ~"]).output().unwrap().stdout;
    let home = PathBuf::from(String::from_utf8(home).unwrap());
    let encoded: String = whole
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b == b'/' { (b as char).to_string() } else { format!("%{b:02x}") })
        .collect();
    for url in
        [format!("ssh://{}@127.0.0.1:{port}{whole}", user()), format!("ssh://{}@127.0.0.1:{port}{encoded}", user())]
    {
        let _ = fs::remove_dir_all(site.state());
        let text = format!(
            "  url: '{}'\n  ssh_key: {}\n  known_hosts: {}\n",
            url.replace('\'', "''"),
            site.path("login").display(),
            hosts.display()
        );
        site.configure(&text, "");
        site.fine(&["init"]);
        // Where a shell on either side would leave it.
        for place in [home.clone(), site.folder.path().to_owned(), "/".into(), site.path("access.git")] {
            assert!(!place.join("pwned-by-grantd").exists(), "{}", place.display());
        }
    }
    // A line break would end a line of the protocol or of a script: refused before anything starts.
    for bad in ["\\n", "\\r", "\\0"] {
        let url = format!("ssh://{}@127.0.0.1:{port}/access{bad}.git", user());
        site.configure(&format!("  url: \"{url}\"\n  ssh_key: {}\n", site.path("login").display()), "");
        let done = site.run(&["init"]);
        assert_ne!(done.code, 0);
        assert!(done.err.contains("control characters") || done.err.contains("NUL"), "{done}");
    }
}
