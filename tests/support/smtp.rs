//! A mail server for tests: one real SMTP conversation after another over a socket, kept in memory.
#![allow(dead_code, reason = "every test binary includes this file and uses its own part of it")]

use std::sync::{Arc, Mutex, PoisonError};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A mail, as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// From the envelope.
    pub(crate) to: String,
    /// Headers and bodies, as they were sent.
    pub(crate) data: String,
}

/// Takes mail until it is dropped, or refuses it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mailbox {
    received: Arc<Mutex<Vec<Received>>>,
    refusing: Arc<Mutex<bool>>,
    port: u16,
}

impl Mailbox {
    /// Listens on a free port.
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mailbox = Mailbox { port: listener.local_addr().expect("an address").port(), ..Mailbox::default() };
        let server = mailbox.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.converse(stream).await });
            }
        });
        mailbox
    }

    /// For `SMTP_URL`.
    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Whether recipients are refused from now on.
    pub(crate) fn refuse(&self, refuses: bool) {
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = refuses;
    }

    /// What came so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tokens of the links in what came so far, in order; mails without one have none here.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let token = |mail: &Received| {
            let text = mail.text();
            let rest = text.split("?token=").nth(1)?;
            Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect())
        };
        self.received().iter().filter_map(token).collect()
    }

    async fn converse(&self, stream: TcpStream) -> Option<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test ESMTP\r\n").await.ok()?;
        let mut to = String::new();
        loop {
            let line = lines.next_line().await.ok()??;
            let refuses = *self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
            let reply = match line.split([' ', ':']).next().unwrap_or("").to_ascii_uppercase().as_str() {
                "EHLO" => "250-test\r\n250 8BITMIME".to_owned(),
                "RCPT" if refuses => format!("450 {line} is not at home"),
                "RCPT" => {
                    to = line.split(['<', '>']).nth(1).unwrap_or("").to_owned();
                    "250 ok".to_owned()
                }
                "DATA" => {
                    write.write_all(b"354 go on\r\n").await.ok()?;
                    let mut data = String::new();
                    loop {
                        let line = lines.next_line().await.ok()??;
                        if line == "." {
                            break;
                        }
                        data.push_str(line.strip_prefix('.').unwrap_or(&line));
                        data.push('\n');
                    }
                    self.received.lock().unwrap_or_else(PoisonError::into_inner).push(Received { to: to.clone(), data });
                    "250 taken".to_owned()
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await.ok()?;
                    return None;
                }
                _ => "250 ok".to_owned(),
            };
            write.write_all(format!("{reply}\r\n").as_bytes()).await.ok()?;
        }
    }
}

impl Received {
    /// The whole mail with its quoted-printable undone.
    pub(crate) fn text(&self) -> String {
        let joined = self.data.replace("=\n", "");
        let (mut bytes, mut rest) = (Vec::new(), joined.as_bytes());
        while let Some((first, tail)) = rest.split_first() {
            let code = (*first == b'=').then(|| tail.get(..2)).flatten();
            let byte = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
            match byte {
                Some(byte) => {
                    bytes.push(byte);
                    rest = &tail[2..];
                }
                None => {
                    bytes.push(*first);
                    rest = tail;
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
