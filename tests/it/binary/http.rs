//! A server that speaks smart HTTP by `git http-backend`, which is a CGI program.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

/// Serves the repositories of a folder on loopback, for as long as the process lives.
pub struct Server {
    pub port: u16,
    /// What clients sent as `Authorization`.
    pub authorizations: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `refuse`: answers 403 with the request's authorization in its body, as a careless server does.
    pub fn new(root: PathBuf, refuse: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let authorizations = Arc::new(Mutex::new(Vec::new()));
        let seen = authorizations.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                // One that hangs up early is its own trouble: the client says so.
                let _ = answer(connection.unwrap(), &root, refuse, &seen);
            }
        });
        Self { port, authorizations }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/access.git", self.port)
    }
}

fn answer(mut connection: TcpStream, root: &Path, refuse: bool, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let [method, target, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { return Ok(()) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
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
