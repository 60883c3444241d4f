//! HTTP/1.1 messages, as far as AWS's clients and moto speak it: bodies have a length, and nothing comes in chunks.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
};

/// A request or a response.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The first line, without its end.
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn response(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".into(), kind.into()), ("x-amzn-RequestId".into(), REQUEST_ID.into())];
        Self { start: format!("HTTP/1.1 {status} {}", reason(status)), headers, body: body.into() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(each, _)| !each.eq_ignore_ascii_case(name));
    }

    /// A response's status.
    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `None` at the end of the connection.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut message = Self { start: line.trim_end().into(), ..Self::default() };
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            message.headers.push((name.into(), value.trim().into()));
        }
        assert!(message.header("Transfer-Encoding").is_none(), "chunks are not spoken here: {}", message.start);
        let length = message.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        message.body = vec![0; length];
        from.read_exact(&mut message.body)?;
        Ok(Some(message))
    }

    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = format!("{}\r\n", self.start).into_bytes();
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("Content-Length") {
                write!(bytes, "{name}: {value}\r\n")?;
            }
        }
        write!(bytes, "Content-Length: {}\r\n\r\n", self.body.len())?;
        bytes.extend(&self.body);
        // At once: the second of two small writes waits for the first one's acknowledgement.
        to.write_all(&bytes)
    }

    /// Sends it to a server on loopback, on a connection of its own, and answers the reply.
    pub fn ask(&self, port: u16) -> io::Result<Self> {
        let mut connection = TcpStream::connect(("127.0.0.1", port))?;
        let mut message = self.clone();
        message.remove("Connection");
        message.headers.push(("Connection".into(), "close".into()));
        message.write(&mut connection)?;
        Self::read(&mut BufReader::new(connection))?.ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

/// What AWS's answers carry; nobody here tells one from another by it.
pub const REQUEST_ID: &str = "7a62c49f-347e-4fc4-9331-6e8e5a96aa73";

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        500 => "Internal Server Error",
        _ => "Service Unavailable",
    }
}

/// The pairs of a form body.
pub fn form(body: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") }).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        bytes.push(match (first, more) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
                digit(*high) * 16 + digit(*low)
            }
            (other, _) => *other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
