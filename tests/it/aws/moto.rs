//! The one moto of this test binary: an independent AWS emulator, started when it is first needed.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

/// The port on loopback at which moto answers.
pub fn port() -> u16 {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(Moto::start).port
}

struct Moto {
    port: u16,
    /// Holds the pipe at whose end moto ends: when this process does, however it does.
    _child: Child,
}

impl Moto {
    fn start() -> Self {
        // A traceback of moto's is the only word about what it answers with status 500.
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto.log");
        let mut child = command().stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().parse().unwrap_or_else(|_| panic!("moto does not start: {} says why", log.display()));
        Self { port, _child: child }
    }
}

/// A moto that prints its port, and ends when its standard input does.
pub fn command() -> Command {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/aws");
    let mut command = Command::new(python());
    command
        .arg(here.join("serve.py"))
        .env("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
        .env("MOTO_AMIS_PATH", here.join("images.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// The Python that knows moto, and boto3.
pub fn python() -> PathBuf {
    let python = venv().join("bin/python");
    assert!(python.exists(), "{} is missing: `scripts/test` makes it, by `scripts/venv`", python.display());
    python
}

/// The folder of the Python environment: `GRANTD_VENV`, or else `venv` in cargo's target folder.
#[expect(clippy::disallowed_methods, reason = "where the tools of the tests are is for the environment to say")]
fn venv() -> PathBuf {
    let target = || Path::new(env!("CARGO_BIN_EXE_grantd")).ancestors().nth(2).unwrap().join("venv");
    env::var("GRANTD_VENV").map_or_else(|_| target(), PathBuf::from)
}
