//! A server that speaks smart HTTP by `git http-backend`, which is a CGI program.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Serves the repositories of a folder on loopback, for as long as the process lives.
pub struct Server {
    pub port: u16,
    /// What clients sent as `Authorization`.
    pub authorizations: Arc<Mutex<Vec<String>>>,
    /// How often the refs were asked for.
    pub asked: Arc<AtomicUsize>,
}

impl Server {
    /// `refuse`: answers 403 with the request's authorization in its body, as a careless server does.
    pub fn new(root: PathBuf, refuse: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let authorizations = Arc::new(Mutex::new(Vec::new()));
        let seen = authorizations.clone();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // One that hangs up early is its own trouble: the client says so.
                let _ = answer(connection.unwrap(), &root, refuse, &seen, &count);
            }
        });
        Self { port, authorizations, asked }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/access.git", self.port)
    }
}

fn answer(
    mut connection: TcpStream,
    root: &Path,
    refuse: bool,
    seen: &Mutex<Vec<String>>,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let [method, target, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Ok(()) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    asked.fetch_add(usize::from(path.ends_with("/info/refs")), Ordering::SeqCst);
    let mut backend = Command::new("git");
    backend.arg("http-backend").env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    backend.envs([("REQUEST_METHOD", method), ("PATH_INFO", path), ("QUERY_STRING", query)]);
    backend.env("GIT_PROJECT_ROOT", root).env("GIT_HTTP_EXPORT_ALL", "1");
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            "authorization" => {
                authorization = value.to_owned();
                seen.lock().unwrap().push(authorization.clone());
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    if refuse {
        return write!(
            connection,
            "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{authorization}",
            authorization.len()
        );
    }
    backend.env("CONTENT_LENGTH", length.to_string());
    let mut child = backend.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    child.stdin.take().unwrap().write_all(&body)?;
    let output = child.wait_with_output()?;
    connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")?;
    connection.write_all(&output.stdout)
}

/// A child of the daemon that is at work with Git, as the kernel shows it: its arguments and its environment.
fn children(of: u32) -> Vec<(String, String)> {
    let read = |pid: &str, name: &str| {
        let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let pids: Vec<String> = pids.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).collect();
    let parent = |pid: &str| read(pid, "stat").rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let mut family = vec![of];
    // Three generations: git, its helper, what that starts.
    for _ in 0..3 {
        let next: Vec<u32> = pids
            .iter()
            .filter(|pid| parent(pid).is_some_and(|parent| family.contains(&parent)))
            .map(|pid| pid.parse().unwrap())
            .collect();
        family.extend(next.into_iter().filter(|pid| !family.contains(pid)).collect::<Vec<_>>());
    }
    let both = |pid: &u32| (read(&pid.to_string(), "cmdline"), read(&pid.to_string(), "environ"));
    family[1..].iter().map(both).filter(|(arguments, _)| arguments.contains("git")).collect()
}

#[test]
fn nothing_of_the_daemons_surroundings_reaches_git() {
    use super::{Daemon, Site, until};
    // A server that never answers, so that there is time to look; and a proxy, which nobody may talk to.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let site = Site::bare();
    site.configure("", "");
    site.fine(&["init"]);
    let moved = "[url \"http://127.0.0.1:1/\"]\n\tinsteadOf = http://\n[core]\n\thooksPath = /evil\n";
    std::fs::write(site.path(".gitconfig"), moved).unwrap();
    std::fs::create_dir_all(site.path("xdg/git")).unwrap();
    std::fs::write(site.path("xdg/git/config"), moved).unwrap();
    let url = format!("http://{}/access.git", silent.local_addr().unwrap());
    site.configure(&format!("  url: {url}\n"), "");
    let through = format!("http://{}", proxy.local_addr().unwrap());
    let mut run = site.command(&["run"]);
    let hostile = [
        ("HOME", site.path("").display().to_string()),
        ("XDG_CONFIG_HOME", site.path("xdg").display().to_string()),
        ("GIT_CONFIG_SYSTEM", site.path(".gitconfig").display().to_string()),
        ("GIT_CONFIG_GLOBAL", site.path(".gitconfig").display().to_string()),
        ("GIT_CONFIG_PARAMETERS", "'core.hookspath'='/evil'".into()),
        ("GIT_SSH_COMMAND", "evil".into()),
        ("GIT_PROXY_COMMAND", "evil".into()),
        ("GIT_ASKPASS", "evil".into()),
        ("SSH_ASKPASS", "evil".into()),
        ("SSH_AUTH_SOCK", "/evil".into()),
        ("GIT_EXEC_PATH", "/evil".into()),
        ("GIT_DIR", "/evil".into()),
        ("GIT_OBJECT_DIRECTORY", "/evil".into()),
        ("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/evil".into()),
        ("GIT_SSL_NO_VERIFY", "1".into()),
        ("GIT_TRACE", "1".into()),
        ("GIT_TRACE_CURL", "1".into()),
        ("AWS_ACCESS_KEY_ID", "AKIAEVIL".into()),
        ("AWS_SECRET_ACCESS_KEY", "evil".into()),
        ("AWS_SESSION_TOKEN", "evil".into()),
        ("LD_PRELOAD", "/evil.so".into()),
        ("LD_LIBRARY_PATH", "/evil".into()),
        ("http_proxy", through.clone()),
        ("HTTP_PROXY", through.clone()),
        ("https_proxy", through.clone()),
        ("ALL_PROXY", through),
        ("CREDENTIALS_DIRECTORY", "/evil".into()),
        ("NOTIFY_SOCKET", site.path("nobody").display().to_string()),
    ];
    run.envs(hostile.iter().cloned());
    let daemon = Daemon::start(run);
    // Its request comes to the server, not to the proxy and to no other place.
    let (connection, _) = silent.accept().unwrap();
    let mut request = String::new();
    BufReader::new(&connection).read_line(&mut request).unwrap();
    assert!(request.starts_with("GET /access.git/info/refs"), "{request}");
    let seen = until("git is at work", || {
        let seen = children(daemon.child.id());
        seen.iter().any(|(arguments, _)| arguments.contains("remote-http")).then_some(seen)
    });
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "the proxy was used");
    for (arguments, environment) in &seen {
        let names: Vec<&str> = environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        for name in &names {
            // What we set, and what git sets for its own children.
            let known = [
                "GIT_ALLOW_PROTOCOL",
                "GIT_ATTR_NOSYSTEM",
                "GIT_CONFIG_GLOBAL",
                "GIT_CONFIG_NOSYSTEM",
                "GIT_LITERAL_PATHSPECS",
                "GIT_NO_REPLACE_OBJECTS",
                "GIT_TERMINAL_PROMPT",
                "HOME",
                "LC_ALL",
                "PATH",
                "GIT_DIR",
                "GIT_CONFIG_PARAMETERS",
                "GIT_EXEC_PATH",
                "GIT_PREFIX",
                "GIT_PROTOCOL",
            ];
            assert!(known.contains(name), "{name} reaches {arguments}");
        }
        assert!(!environment.contains("evil") && !environment.contains("AKIA"), "{arguments} has {environment}");
        let home = format!("HOME={}\n", site.state().join("git-home").display());
        assert!(format!("{environment}\n").contains(&home), "{environment}");
    }
    drop(connection);
    daemon.kill();
}
