//! Git over https with an authority of one's own, by a proxy that makes tunnels: what stands in the way of a company's machine.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use super::{GROUP, Site, grant, until};

/// Serves a folder's repositories by `git http-backend` over TLS; prints its port.
const SERVER: &str = r#"
import http.server, os, ssl, subprocess, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "GIT_PROJECT_ROOT": sys.argv[1], "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": self.headers.get("content-type") or "", "GIT_PROTOCOL": self.headers.get("git-protocol") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding") or ""}
        done = subprocess.run(["git", "-c", "safe.directory=*", "http-backend"], input=body, env=environment, capture_output=True)
        length = len(done.stdout.partition(b"\r\n\r\n")[2])
        self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n" % length + done.stdout)
    do_GET = do_POST = answer
    def log_message(self, *arguments): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// Killed when it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// Its certificate is for `git.corp.example`, of the authority in `ca.pem`.
    fn new(site: &Site) -> Self {
        let folder = site.folder.path();
        let fresh = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(folder, &format!("req -x509 {fresh} -keyout ca.key -out ca.pem -days 9 -subj /CN=Corp"));
        openssl(folder, &format!("req {fresh} -keyout tls.key -out tls.csr -subj /CN=git.corp.example"));
        fs::write(site.path("san"), "subjectAltName=DNS:git.corp.example").unwrap();
        openssl(
            folder,
            "x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -extfile san -out tls.pem",
        );
        let mut command = Command::new("python3");
        command.args(["-c", SERVER]).arg(folder).args([site.path("tls.pem"), site.path("tls.key")]);
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }
}

/// A proxy that makes tunnels to the server, whatever name it is asked for, for those who know its password.
fn proxy(server: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let (connection, seen) = (connection.unwrap(), seen.clone());
            std::thread::spawn(move || tunnel(connection, server, &seen));
        }
    });
    (port, asked)
}

fn tunnel(mut from: TcpStream, server: u16, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(from.try_clone()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
        // base64 of corp:canary-proxy
        if head.contains("Basic Y29ycDpjYW5hcnktcHJveHk=") {
            break;
        }
        // curl asks first which way there is to say who it is.
        let no = "HTTP/1.1 407 Who are you?\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
        from.write_all(no.as_bytes())?;
    }
    let mut to = TcpStream::connect(("127.0.0.1", server))?;
    write!(from, "HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut back, mut there) = (to.try_clone()?, from.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut back, &mut there);
        let _ = there.shutdown(std::net::Shutdown::Write);
    });
    std::io::copy(&mut reader, &mut to)?;
    to.shutdown(std::net::Shutdown::Write)
}

#[test]
fn an_https_remote_is_reached_by_a_proxy_and_an_authority_of_ones_own() {
    let mut site = Site::bare();
    let server = Server::new(&site);
    let (port, asked) = proxy(server.port);
    site.configure("  url: https://git.corp.example/access.git\n", "");
    let ca: String = site.path("ca.pem").to_str().unwrap().into();
    let through = |user: &str| format!("http://{user}127.0.0.1:{port}");
    let known = through("corp:canary-proxy@");
    let refused = |site: &Site, why: &str| {
        let done = site.run(&["init"]);
        assert_eq!(done.code, 1, "{done}");
        assert!(done.err.contains(why), "{done}");
    };
    // Without the proxy there is no such name; without the authority nobody is trusted; without its password the proxy refuses.
    site.environment = vec![("SSL_CERT_FILE", ca.clone())];
    refused(&site, "git.corp.example");
    site.environment = vec![("HTTPS_PROXY", known.clone())];
    refused(&site, "certificate");
    site.environment = vec![("HTTPS_PROXY", through("")), ("SSL_CERT_FILE", ca.clone())];
    refused(&site, "407");
    site.environment =
        vec![("HTTPS_PROXY", known.clone()), ("NO_PROXY", ".corp.example".into()), ("SSL_CERT_FILE", ca.clone())];
    refused(&site, "git.corp.example");
    site.environment = vec![("HTTPS_PROXY", "socks5://canary-1:1".into())];
    refused(&site, "HTTPS_PROXY");
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        asked.lock().unwrap().clear();
        site.environment = vec![(name, known.clone()), ("SSL_CERT_FILE", ca.clone())];
        site.fine(&["init"]);
        assert_eq!(asked.lock().unwrap()[0], "CONNECT git.corp.example:443 HTTP/1.1", "{name}");
        let state: PathBuf = site.state();
        fs::rename(&state, site.path(&format!("state-{name}"))).unwrap();
    }
    site.fine(&["init"]);
    let daemon = site.daemon();
    site.merge("jdoe-one", &grant("8h", GROUP));
    until("jdoe is in the group", || site.in_group().then_some(()));
    site.fine(&["doctor"]);
    daemon.stop();
}
