//! How a mail leaves the house: over SMTP, or into a folder where there is no mail server.

use super::model::Due;
use crate::{config::Config, traces::Step};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
};
use secrecy::ExposeSecret as _;
use std::{path::PathBuf, time::Duration};

/// A mail server that takes longer for one step is away.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a mail did not leave, or none can.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// `SMTP_URL` or `MAIL_FROM` can't be used.
    #[error("{0}")]
    Settings(String),
    /// No mail can be written to that address.
    #[error("the address can't be written to: {0}")]
    Address(#[from] lettre::address::AddressError),
    /// The mail can't be put together.
    #[error("the mail can't be put together: {0}")]
    Message(#[from] lettre::error::Error),
    /// The mail server did not take it.
    #[error("{0}")]
    Smtp(#[from] lettre::transport::smtp::Error),
    /// The folder did not take it.
    #[error("the folder of mails can't be written to: {0}")]
    Folder(#[from] std::io::Error),
}

/// Takes mails away.
#[derive(Debug)]
pub struct Post {
    from: Mailbox,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Folder(PathBuf),
}

impl Post {
    /// Over `SMTP_URL` where it is set, else into `mail` in the data folder.
    pub fn of(config: &Config) -> Result<Self, PostError> {
        let from = config.mail_from.parse().map_err(|error| PostError::Settings(format!("MAIL_FROM: {error}")))?;
        let way = match &config.smtp_url {
            None => Way::Folder(config.data_dir.join("mail")),
            Some(url) => {
                let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())
                    .map_err(|error| PostError::Settings(format!("SMTP_URL: {error}")))?;
                Way::Smtp(Box::new(transport.timeout(Some(STEP_TIMEOUT)).build()))
            }
        };
        Ok(Post { from, way })
    }

    /// Sends one mail. An error says nothing about whether the server took it before it fell silent.
    pub async fn send(&self, due: &Due) -> Result<(), PostError> {
        let mut sending = Step::abroad("mail.send");
        sending.note("igny8.mail_kind", due.kind.as_str());
        let sent = self.try_send(due).await;
        if sent.is_err() {
            sending.failed();
        }
        sent
    }

    async fn try_send(&self, due: &Due) -> Result<(), PostError> {
        let message = self.message(due)?;
        match &self.way {
            Way::Smtp(transport) => drop(transport.send(message).await?),
            Way::Folder(folder) => {
                tokio::fs::create_dir_all(folder).await?;
                // Written beside its place and then moved: whoever looks finds whole mails only.
                let draft = folder.join(format!(".{}.draft", due.id));
                tokio::fs::write(&draft, message.formatted()).await?;
                tokio::fs::rename(&draft, folder.join(format!("{:06}-{}.eml", due.id, due.kind))).await?;
            }
        }
        Ok(())
    }

    fn message(&self, due: &Due) -> Result<Message, PostError> {
        let to = due.recipient.parse::<Address>()?;
        let host = self.from.email.domain();
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .message_id(Some(format!("<{}.{}@{host}>", due.kind, due.id)))
            .subject(due.letter.subject.clone())
            .multipart(MultiPart::alternative_plain_html(due.letter.text.clone(), due.letter.html.clone()))?;
        Ok(message)
    }
}
