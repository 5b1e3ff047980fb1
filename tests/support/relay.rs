//! Stands between a server and Postgres, passes everything on, and writes down which statements are carried out.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UnixStream},
    task::JoinHandle,
};

/// Runs as long as its test.
pub(crate) struct Relay {
    port: u16,
    carried_out: Arc<Mutex<Vec<String>>>,
    door: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    /// Before the server whose socket is in that folder.
    pub(crate) async fn before(socket_dir: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let noted = Arc::<Mutex<Vec<String>>>::default();
        let (socket, carried_out) = (PathBuf::from(socket_dir).join(".s.PGSQL.5432"), Arc::clone(&noted));
        let door = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.expect("the tests' Postgres");
                let ((mut asks, mut is_told), (mut answers, mut is_asked)) = (client.into_split(), server.into_split());
                let mut reader = Reader { carried_out: Arc::clone(&carried_out), ..Reader::default() };
                tokio::spawn(async move { tokio::io::copy(&mut answers, &mut is_told).await.ok() });
                tokio::spawn(async move {
                    let mut bytes = [0; 16_384];
                    while let Ok(count @ 1..) = asks.read(&mut bytes).await {
                        // Written down before it is passed on: who has been answered finds it.
                        reader.read(&bytes[..count]);
                        if is_asked.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Relay { port, carried_out: noted, door: Mutex::new(Some(door)) }
    }

    /// Refuses new connections; those that there are stay.
    pub(crate) async fn accept_no_more(&self) {
        let door = self.door.lock().unwrap_or_else(PoisonError::into_inner).take().expect("an open door");
        door.abort();
        // Once it has ended its listener is gone.
        door.await.ok();
    }

    /// The URL of one database through it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// The statements that were carried out since they were taken last, over all connections.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.carried_out.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reads what one client sends, as the protocol's message formats have it.
#[derive(Default)]
struct Reader {
    carried_out: Arc<Mutex<Vec<String>>>,
    unread: Vec<u8>,
    is_started: bool,
    /// The text of each prepared statement, and which one a portal stands for.
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Reader {
    fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        loop {
            // The first message has no letter before its length.
            let at = usize::from(self.is_started);
            let Some(length) = self.unread.get(at..at + 4) else { return };
            let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
            let length = usize::try_from(length).expect("a length");
            if self.unread.len() < at + length {
                return;
            }
            let message = self.unread.drain(..at + length).collect::<Vec<_>>();
            if std::mem::replace(&mut self.is_started, true) {
                self.note(message[0], &message[5..]);
            }
        }
    }

    fn note(&mut self, letter: u8, body: &[u8]) {
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        let carried_out = match letter {
            b'Q' => Some(first),
            b'P' => {
                self.statements.insert(first, second);
                None
            }
            b'B' => {
                let text = self.statements.get(&second).cloned().unwrap_or_default();
                self.portals.insert(first, text);
                None
            }
            b'E' => Some(self.portals.get(&first).cloned().unwrap_or_default()),
            _ => None,
        };
        self.carried_out.lock().unwrap_or_else(PoisonError::into_inner).extend(carried_out);
    }
}
