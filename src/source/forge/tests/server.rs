//! A small server of our own: it answers as it is told, also as no honest one does.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub enum Answer {
    Whole {
        status: u16,
        headers: Vec<(String, String)>,
        body: String,
    },
    /// Nothing ever comes.
    Silence,
    /// The connection ends in the middle of the body.
    Cut,
    /// A status and this many bytes, which are nothing in the end.
    Flood(u16, usize),
}

impl Answer {
    pub fn status(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Self::Whole { status, headers, body: body.into() }
    }
}

pub type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Bytes of floods that were taken by the other side.
    flooded: Arc<Mutex<usize>>,
    connections: Arc<Mutex<usize>>,
}

impl Server {
    pub fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, flooded): (Arc<Mutex<Vec<Asked>>>, Arc<Mutex<usize>>) = Default::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, count) = (asked.clone(), flooded.clone());
        let connections: Arc<Mutex<usize>> = Arc::default();
        let opened = connections.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                *opened.lock().unwrap() += 1;
                let (handler, log, count) = (handler.clone(), log.clone(), count.clone());
                std::thread::spawn(move || drop(serve(&connection.unwrap(), &*handler, &log, &count)));
            }
        });
        Self { port, asked, flooded, connections }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    pub fn flooded(&self) -> usize {
        *self.flooded.lock().unwrap()
    }
}

fn serve(
    connection: &TcpStream,
    handler: &Handler,
    log: &Mutex<Vec<Asked>>,
    flooded: &Mutex<usize>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut out = connection;
    while let Some(asked) = read(&mut reader)? {
        log.lock().unwrap().push(asked.clone());
        match handler(&asked) {
            Answer::Whole { status, headers, body } => {
                let mut text = format!("HTTP/1.1 {status} So\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    text += &format!("{name}: {value}\r\n");
                }
                out.write_all(format!("{text}\r\n{body}").as_bytes())?;
            }
            Answer::Silence => {
                let mut nothing = String::new();
                reader.read_line(&mut nothing)?;
                return Ok(());
            }
            Answer::Cut => {
                out.write_all(b"HTTP/1.1 200 So\r\nContent-Length: 1000\r\n\r\n[")?;
                return connection.shutdown(Shutdown::Both);
            }
            Answer::Flood(status, bytes) => {
                out.write_all(format!("HTTP/1.1 {status} So\r\nContent-Length: {bytes}\r\n\r\n").as_bytes())?;
                let piece = [b'['; 64 * 1024];
                for _ in 0..bytes / piece.len() {
                    out.write_all(&piece)?;
                    *flooded.lock().unwrap() += piece.len();
                }
            }
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let [method, target, _] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned();
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (decode(name), decode(value))
    });
    let mut asked =
        Asked { method: method.into(), path: path.into(), query: query.collect(), headers: BTreeMap::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(Some(asked)) };
        asked.headers.insert(name.to_ascii_lowercase(), value.into());
    }
}
