//! Through a proxy, by a private authority. The proxy and the forge are our own, on loopback.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    super::settings::Github,
    Asker, NOW, SHORT, Settings,
    server::{Answer, Server},
};
use crate::model::{Outside, Said};

const COMMIT: &str = "1111111111111111111111111111111111111111";
const SECRET: &str = "hunter2-canary";

fn outside(given: &[(&str, String)]) -> Outside {
    Outside::read(|name| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())).unwrap()
}

fn github(api: &str) -> Settings {
    Settings::Github(Github {
        repository: "corp/access".into(),
        id: 42,
        token: "credential:forge".into(),
        api: api.into(),
    })
}

async fn ask(api: &str, outside: &Outside) -> String {
    let said = Asker::outside(&github(api), SHORT, outside).said(COMMIT, NOW).await;
    let text = format!("{said:?}");
    assert!(!text.contains(SECRET), "{text}");
    assert!(matches!(said, Said::Away(_) | Said::Missing(_)), "{text}");
    text
}

#[tokio::test]
async fn a_proxy_is_asked_for_a_tunnel_and_its_refusal_is_told() {
    for (status, why) in [(407, "proxy authorization required"), (502, "unsuccessful"), (403, "unsuccessful")] {
        let proxy = Server::start(move |_| Answer::status(status, &[], ""));
        for variable in ["https_proxy", "HTTPS_PROXY", "all_proxy"] {
            let address = format!("http://corp:{SECRET}@127.0.0.1:{}", proxy.port);
            let said = ask("https://forge.corp.example/api/v3", &outside(&[(variable, address)])).await;
            assert!(said.contains("through the proxy 127.0.0.1") && said.contains(why), "{said}");
        }
        let asked = proxy.asked();
        assert_eq!(asked.len(), 3, "{asked:?}");
        for one in asked {
            assert_eq!((one.method.as_str(), one.path.as_str()), ("CONNECT", "forge.corp.example:443"));
            use base64::{Engine, prelude::BASE64_STANDARD};
            let login = format!("Basic {}", BASE64_STANDARD.encode(format!("corp:{SECRET}")));
            assert_eq!(one.headers.get("proxy-authorization"), Some(&login));
            assert!(!one.headers.contains_key("authorization"), "the forge's token is none of the proxy's business");
        }
    }
}

#[tokio::test]
async fn what_is_to_be_reached_directly_is() {
    let proxy = Server::start(|_| Answer::status(502, &[], ""));
    let address = ("https_proxy", format!("http://127.0.0.1:{}", proxy.port));
    let direct = |no: &str| outside(&[address.clone(), ("no_proxy", no.to_owned())]);
    for (api, no) in [
        ("https://forge.invalid/api/v3", "forge.invalid"),
        ("https://forge.invalid/api/v3", ".invalid, other"),
        ("https://forge.invalid/api/v3", "*"),
        ("https://127.0.0.1:1/api/v3", ""),
        ("https://localhost:1/api/v3", ""),
        ("https://169.254.169.254:1/api/v3", ""),
    ] {
        let said = ask(api, &direct(no)).await;
        assert!(said.contains("Away") && !said.contains("proxy"), "{api} {no}: {said}");
    }
    // What has no secret goes to this machine only, and never to a proxy.
    ask(&format!("http://127.0.0.1:{}/api/v3", Server::start(|_| Answer::status(404, &[], "")).port), &direct(""))
        .await;
    assert_eq!(proxy.connections(), 0, "{:?}", proxy.asked());
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a forge that it vouches for: it answers everything with 404.
fn forge(folder: &Path) -> u16 {
    openssl(
        folder,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-days",
            "2",
            "-subj",
            "/CN=Corp",
        ],
    );
    openssl(
        folder,
        &[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "forge.key",
            "-out",
            "forge.csr",
            "-subj",
            "/CN=forge",
        ],
    );
    fs::write(folder.join("names"), "subjectAltName=DNS:forge.corp.example\n").unwrap();
    openssl(
        folder,
        &[
            "x509",
            "-req",
            "-in",
            "forge.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "names",
            "-out",
            "forge.pem",
        ],
    );
    let chain = vec![CertificateDer::from_pem_file(folder.join("forge.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("forge.key")).unwrap();
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let config = config.clone();
            std::thread::spawn(move || {
                let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), stream.unwrap());
                let mut asked = [0; 8192];
                while tls.read(&mut asked).is_ok_and(|length| length > 0) {
                    if tls.write_all(b"HTTP/1.1 404 So\r\nContent-Length: 0\r\n\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Passes everything on to that port, and notes what was asked for.
fn tunnel(to: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut here, log) = (stream.unwrap(), log.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(here.try_clone().unwrap());
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                log.lock().unwrap().push(line.trim().to_owned());
                while line.trim() != "" {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                }
                here.write_all(b"HTTP/1.1 200 So\r\n\r\n").unwrap();
                let mut there = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let mut back = (there.try_clone().unwrap(), here.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
                let _ = std::io::copy(&mut reader, &mut there);
            });
        }
    });
    (port, asked)
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_environment_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let (port, asked) = tunnel(forge(folder.path()));
    fs::create_dir(folder.path().join("certs")).unwrap();
    fs::copy(folder.path().join("ca.pem"), folder.path().join("certs/corp.pem")).unwrap();
    fs::write(folder.path().join("certs/README"), "no certificate").unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let proxy = ("https_proxy", format!("127.0.0.1:{port}"));
    let api = "https://forge.corp.example/api/v3";
    for (variable, value, known) in [
        ("SSL_CERT_FILE", at("ca.pem"), true),
        ("SSL_CERT_DIR", at("certs"), true),
        ("SSL_CERT_FILE", at("forge.pem"), false),
        ("NOTHING", String::new(), false),
    ] {
        let said = ask(api, &outside(&[proxy.clone(), (variable, value.clone())])).await;
        // It answered, or was not known for what it is.
        assert_eq!(said.contains("shows no repository"), known, "{variable} {value}: {said}");
        assert_eq!(said.contains("certificate"), !known, "{variable} {value}: {said}");
    }
    assert!(asked.lock().unwrap().iter().all(|line| line == "CONNECT forge.corp.example:443 HTTP/1.1"));
    for (variable, value) in
        [("SSL_CERT_FILE", at("nothing.pem")), ("SSL_CERT_FILE", at("names")), ("SSL_CERT_DIR", at("nowhere"))]
    {
        let outside = outside(&[(variable, value)]);
        let error = super::Forge::limited(&github(api), "main", Some(folder.path()), &outside, SHORT).unwrap_err();
        assert!(error.contains(variable), "{error}");
    }
}
