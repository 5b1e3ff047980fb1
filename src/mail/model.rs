//! What a mail is.

crate::words! {
    /// Why somebody gets mail.
    pub enum MailKind {
        /// He, or somebody for him, forgot the password.
        PasswordReset = "password_reset",
        /// He is to prove his address.
        VerifyEmail = "verify_email",
        /// He is invited to an account.
        Invitation = "invitation",
        /// Somebody made a user for him.
        Welcome = "welcome",
        /// A refresh token of his came a second time.
        SessionReused = "session_reused",
        /// His password is another one now.
        PasswordChanged = "password_changed",
        /// His money came.
        PaymentConfirmed = "payment_confirmed",
        /// The money that he reported did not come.
        PaymentRejected = "payment_rejected",
        /// His money was taken back.
        PaymentReversed = "payment_reversed",
        /// His plan is to be renewed, and this is the invoice.
        RenewalInvoiced = "renewal_invoiced",
        /// His trial or his paid time ends, or has ended.
        RenewalReminder = "renewal_reminder",
        /// His account has few credits left.
        CreditsLow = "credits_low",
        /// His account has no credits left.
        CreditsUsedUp = "credits_used_up",
        /// He is to prove the address that is to become his.
        ChangeEmail = "change_email",
        /// Somebody who knows his password wants another address for him.
        EmailChanging = "email_changing",
        /// His address is another one now.
        EmailChanged = "email_changed",
        /// His second factor was switched on or off.
        SecondFactor = "second_factor",
    }
}

/// What a mail says, twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// One line.
    pub subject: String,
    /// For terminals and old programs.
    pub text: String,
    /// For the others; whatever came from people is escaped.
    pub html: String,
}

/// A mail to be written into the outbox.
#[derive(Clone, Debug)]
pub struct Mail<'a> {
    /// Why.
    pub kind: MailKind,
    /// The cause, told the same each time it is told: of two mails with one key only the first is kept.
    pub dedupe_key: String,
    /// To whom.
    pub recipient: &'a str,
    /// What it says.
    pub letter: Letter,
}

/// Whether a mail is ever to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As soon as a worker comes by.
    Send,
    /// Never: nobody lives at that address, and writing it all the same takes as long as if somebody did.
    Withhold,
}

/// A mail that a worker has claimed, as it stands in the outbox.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its number.
    pub id: i64,
    /// Why it is sent.
    pub kind: MailKind,
    /// Its cause, which it is sealed for.
    pub dedupe_key: String,
    /// To whom.
    pub recipient: String,
    /// One line.
    pub subject: String,
    /// Its two bodies, sealed.
    pub sealed_bodies: Vec<u8>,
    /// How often it was tried, this time included.
    pub attempts: i32,
    /// Whether it is to leave at all.
    pub delivery: Delivery,
}

/// A mail that leaves now.
#[derive(Clone, Debug)]
pub struct Due {
    /// Its number, which also names it to the receiver: of two copies of one mail he can drop the second.
    pub id: i64,
    /// Why it is sent.
    pub kind: MailKind,
    /// To whom.
    pub recipient: String,
    /// What it says.
    pub letter: Letter,
    /// How often it was tried, this time included.
    pub attempts: i32,
}
