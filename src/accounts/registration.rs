//! Rules of registration: what is asked for, what the account is called, and everything that is wrong with it at once.

use crate::{
    auth::{
        model::{Device, Email, Password},
        passwords::{self, NewPassword, PasswordFault},
    },
    ids::{PaymentMethod, RESERVED_SLUGS, slug_of},
};

/// The longest name of an account, in characters.
pub const ACCOUNT_NAME_CHARS_MAX: usize = 120;
/// What an account is called in addresses when its name has no letter or digit of ASCII.
const SLUG_OF_NOTHING: &str = "account";
/// So many numbered slugs are tried before chance decides.
const NUMBERED_SLUGS: usize = 5;

/// What somebody registers with. Nothing of it is decided yet.
#[derive(Debug, Clone)]
pub struct Registration {
    /// His address.
    pub email: Email,
    /// His password.
    pub password: NewPassword,
    /// The same again, where the form asks for it.
    pub password_confirm: Option<Password>,
    /// Given name, or nothing.
    pub first_name: String,
    /// Family name, or nothing.
    pub last_name: String,
    /// His name for himself; else what stands before the `@`.
    pub username: Option<String>,
    /// What the account is to be called.
    pub account_name: Option<String>,
    /// The plan that he has in mind (A4).
    pub plan_slug: Option<String>,
    /// How he means to pay for it.
    pub payment_method: Option<PaymentMethod>,
    /// Where he comes from.
    pub device: Device,
}

/// One thing that is wrong with a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The password may not become one.
    #[error(transparent)]
    Password(PasswordFault),
    /// Two different passwords.
    #[error("the passwords differ")]
    PasswordsDiffer,
    /// A name whose slug belongs to system accounts.
    #[error("the account name is reserved")]
    ReservedName,
    /// A living user has the address.
    #[error("the email is taken")]
    EmailTaken,
    /// An address that the database does not take.
    #[error("the email is malformed")]
    EmailMalformed,
    /// A plan that is not offered.
    #[error("there is no such plan")]
    UnknownPlan,
}

impl Fault {
    /// The field that is wrong.
    pub fn field(self) -> &'static str {
        match self {
            Fault::Password(_) => "password",
            Fault::PasswordsDiffer => "password_confirm",
            Fault::ReservedName => "account_name",
            Fault::EmailTaken | Fault::EmailMalformed => "email",
            Fault::UnknownPlan => "plan_slug",
        }
    }
}

impl Registration {
    /// What the account is called: as asked, else after its owner.
    pub fn account_name(&self) -> String {
        let owner = if self.first_name.is_empty() { self.email.local_part() } else { self.first_name.as_str() };
        let name = self.account_name.clone().unwrap_or_else(|| format!("{owner}'s account"));
        name.chars().take(ACCOUNT_NAME_CHARS_MAX).collect()
    }

    /// What the user calls himself.
    pub fn username(&self) -> String {
        self.username.clone().unwrap_or_else(|| self.email.local_part().to_owned())
    }

    /// Everything that is wrong as far as can be told without asking the database.
    pub fn faults(&self, password_chars_min: usize) -> Vec<Fault> {
        let password = passwords::check_password(&self.password, &self.email, password_chars_min).err().map(Fault::Password);
        let differs = self.password_confirm.as_ref().is_some_and(|again| !passwords::is_same(&self.password.0, again));
        let reserved = RESERVED_SLUGS.contains(&slug_of(&self.account_name()).as_str());
        let rest = [(differs, Fault::PasswordsDiffer), (reserved, Fault::ReservedName)];
        password.into_iter().chain(rest.into_iter().filter_map(|(is_so, fault)| is_so.then_some(fault))).collect()
    }
}

/// Slugs to try for an account of that name, in this order: plain, numbered, and at last with a random ending.
pub fn slugs(name: &str, random: &str) -> Vec<String> {
    let plain = Some(slug_of(name)).filter(|slug| !slug.is_empty()).unwrap_or_else(|| SLUG_OF_NOTHING.to_owned());
    let numbered = (2..=NUMBERED_SLUGS).map(|number| format!("{plain}-{number}"));
    let by_chance = format!("{plain}-{random}");
    std::iter::once(plain.clone()).chain(numbered).chain([by_chance]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(email: &str, password: &str) -> Registration {
        Registration {
            email: Email::parse(email).unwrap(),
            password: NewPassword::parse(Password(password.into())).unwrap(),
            password_confirm: None,
            first_name: String::new(),
            last_name: String::new(),
            username: None,
            account_name: None,
            plan_slug: None,
            payment_method: None,
            device: Device::default(),
        }
    }

    #[test]
    fn an_account_is_named_as_asked_else_after_its_owner() {
        let plain = registration("ana.k@example.com", "correct horse");
        let named = Registration { first_name: "Ana".to_owned(), ..plain.clone() };
        let asked = Registration { account_name: Some("Home & Garden".to_owned()), ..named.clone() };
        let long = Registration { first_name: "x".repeat(150), ..plain.clone() };

        assert_eq!((plain.account_name(), plain.username()), ("ana.k's account".to_owned(), "ana.k".to_owned()));
        assert_eq!(named.account_name(), "Ana's account");
        assert_eq!(asked.account_name(), "Home & Garden");
        assert_eq!(long.account_name().chars().count(), ACCOUNT_NAME_CHARS_MAX);
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let sound = registration("ana@example.com", "correct horse");
        let again = |text: &str| Some(Password(text.into()));
        let wrong = Registration {
            password: NewPassword::parse(Password("ANA@example.com".into())).unwrap(),
            password_confirm: again("another"),
            account_name: Some(" AWS  Admin!".to_owned()),
            ..sound.clone()
        };

        assert_eq!(Registration { password_confirm: again("correct horse"), ..sound }.faults(8), []);
        assert_eq!(wrong.faults(8), [Fault::Password(PasswordFault::IsEmail), Fault::PasswordsDiffer, Fault::ReservedName]);
        assert_eq!(wrong.faults(8).iter().map(|fault| fault.field()).collect::<Vec<_>>(), ["password", "password_confirm", "account_name"]);
    }

    #[test]
    fn reserved_slugs_are_refused_however_they_are_spelled() {
        let named = |name: &str| Registration { account_name: Some(name.to_owned()), ..registration("ana@example.com", "correct horse") };

        for name in ["Default", "DEFAULT", "default account", "Default-Account", "aws admin", "AWS_Admin", "-default-"] {
            assert_eq!(named(name).faults(8), [Fault::ReservedName], "{name}");
        }
        assert_eq!(named("Defaults").faults(8), []);
    }

    #[test]
    fn slugs_are_numbered_and_end_by_chance() {
        assert_eq!(slugs("Ana", "f00d"), ["ana", "ana-2", "ana-3", "ana-4", "ana-5", "ana-f00d"]);
        assert_eq!(slugs("東京", "f00d").first().map(String::as_str), Some("account"));
        assert!(slugs(&"x".repeat(500), &"f".repeat(12)).iter().all(|slug| slug.len() <= 64));
    }
}
