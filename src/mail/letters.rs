//! What mails say. Every letter is written twice, as text and as HTML; what came from people is escaped in the one and
//! free of line breaks in both.

use super::model::Letter;

/// Where a letter leads.
struct Link {
    label: &'static str,
    address: String,
}

/// To somebody who forgot his password. `app_url` is the web app's base.
pub fn password_reset(app_url: &str, token: &str) -> Letter {
    let link = Link { label: "Choose a new password", address: format!("{app_url}/reset-password?token={token}") };
    let lines = [
        "Somebody asked for a new password for your IGNY8 account.",
        "The link works once, for one hour. If it was not you, do nothing: your password stays.",
    ];
    letter("Your new password", &lines.map(str::to_owned), Some(&link))
}

/// To somebody who gave an address that may be another's.
pub fn verify_email(app_url: &str, token: &str) -> Letter {
    let link = Link { label: "Confirm your address", address: format!("{app_url}/verify-email?token={token}") };
    let lines = ["Please confirm that this is your e-mail address.", "The link works once, for 24 hours."];
    letter("Please confirm your e-mail address", &lines.map(str::to_owned), Some(&link))
}

/// To somebody who may join an account.
pub fn invitation(app_url: &str, token: &str, account: &str, role: &str) -> Letter {
    let link = Link { label: "Accept the invitation", address: format!("{app_url}/accept-invitation?token={token}") };
    let lines = [
        format!("You are invited to join {} on IGNY8 as {role}.", one_line(account)),
        "The link works once, for seven days. If you did not expect it, do nothing.".to_owned(),
    ];
    letter(&format!("You are invited to {}", one_line(account)), &lines, Some(&link))
}

/// To somebody for whom an admin made a user without a password.
pub fn welcome(app_url: &str, token: &str, account: &str) -> Letter {
    let link = Link { label: "Choose your password", address: format!("{app_url}/reset-password?token={token}") };
    let lines = [
        format!("A user was made for you in {} on IGNY8.", one_line(account)),
        "Choose a password to sign in. The link works once, for seven days.".to_owned(),
    ];
    letter(&format!("Welcome to {}", one_line(account)), &lines, Some(&link))
}

/// To somebody whose session was ended because one of its refresh tokens came a second time.
pub fn session_reused(app_url: &str) -> Letter {
    let link = Link { label: "Sign in", address: format!("{app_url}/login") };
    let lines = [
        "A sign-in of yours was used from two places, and we ended it.",
        "If that was not one of your own devices, change your password and sign out everywhere.",
    ];
    letter("A sign-in of yours was ended", &lines.map(str::to_owned), Some(&link))
}

/// To somebody whose password is another one now.
pub fn password_changed(app_url: &str) -> Letter {
    let link = Link { label: "That was not me", address: format!("{app_url}/reset-password") };
    let lines =
        ["The password of your IGNY8 account was changed, and your other sign-ins were ended.", "If it was not you, choose a new one now."];
    letter("Your password was changed", &lines.map(str::to_owned), Some(&link))
}

/// To a customer whose money came; with nothing outstanding it is the receipt. `page` is the invoice's in the web app.
pub fn payment_confirmed(page: &str, amount: &str, invoice: &str, outstanding: Option<&str>) -> Letter {
    let came = format!("We have received {amount} for invoice {invoice}. Thank you.");
    match outstanding {
        Some(outstanding) => {
            let link = Link { label: "See the invoice", address: page.to_owned() };
            let lines = [came, format!("{outstanding} are still outstanding; your plan starts when all has come.")];
            letter(&format!("A part of invoice {invoice} is paid"), &lines, Some(&link))
        }
        None => {
            let link = Link { label: "Download your receipt", address: page.to_owned() };
            letter(&format!("Receipt for invoice {invoice}"), &[came, "The invoice is paid.".to_owned()], Some(&link))
        }
    }
}

/// To a customer whose reported money did not come.
pub fn payment_rejected(page: &str, amount: &str, reference: &str, reason: &str) -> Letter {
    let link = Link { label: "See the invoice", address: page.to_owned() };
    let lines = [
        format!("We could not find the transfer of {amount} that you reported with the reference {}.", one_line(reference)),
        format!("What our staff noted: {}", reason.replace(char::is_control, " ")),
        "Please look at what your bank shows and report it again, or answer this mail.".to_owned(),
    ];
    letter("We could not find your transfer", &lines, Some(&link))
}

/// To a customer whose money was taken back.
pub fn payment_reversed(page: &str, amount: &str, reference: &str) -> Letter {
    let link = Link { label: "See the invoice", address: page.to_owned() };
    let lines = [
        format!("The transfer of {amount} with the reference {} was taken back.", one_line(reference)),
        "What it paid for has ended. Please look at the invoice, or contact support.".to_owned(),
    ];
    letter("A payment was taken back", &lines, Some(&link))
}

/// To a customer whose plan is to be renewed: the invoice, some days ahead.
pub fn renewal_invoiced(page: &str, invoice: &str, amount: &str, reference: &str, day: &str) -> Letter {
    let link = Link { label: "See the invoice", address: page.to_owned() };
    let lines = [
        format!("Your plan is paid until {day}. To go on, please transfer {amount} with the reference {reference}."),
        "However early you pay, no day is lost: the next period starts where this one ends.".to_owned(),
    ];
    letter(&format!("Invoice {invoice} for your next period"), &lines, Some(&link))
}

/// To a customer whose trial or paid time ends or has ended. `owed` is what to transfer and with which reference, if anything is
/// invoiced.
pub fn renewal_reminder(page: &str, (subject, first): (&str, &str), owed: Option<(&str, &str)>) -> Letter {
    let link = Link { label: if owed.is_some() { "See the invoice" } else { "Choose a plan" }, address: page.to_owned() };
    let second = match owed {
        Some((amount, reference)) => format!("Please transfer {amount} with the reference {reference}."),
        None => "Choose a plan and pay its invoice to go on.".to_owned(),
    };
    letter(&one_line(subject), &[first.to_owned(), second], Some(&link))
}

/// To the owner of an account that has few credits left, or none.
pub fn credits_low(app_url: &str, account: &str, credits: i64, credits_per_month: i64) -> Letter {
    let link = Link { label: "See your plan", address: format!("{app_url}/billing") };
    let account = one_line(account);
    let (subject, first) = match credits {
        0 => (format!("{account} has used up its credits"), format!("{account} has used up its credits on IGNY8.")),
        _ => (
            format!("{account} is running low on credits"),
            format!("{account} has {credits} credits left on IGNY8; a month brings {credits_per_month}."),
        ),
    };
    let lines = [first, "Upgrade the plan to go on at once, or wait for the next period.".to_owned()];
    letter(&subject, &lines, Some(&link))
}

/// To the address that is to become somebody's.
pub fn change_email(app_url: &str, token: &str) -> Letter {
    let link = Link { label: "Use this address", address: format!("{app_url}/change-email?token={token}") };
    let lines = [
        "Somebody wants to sign in to IGNY8 with this e-mail address from now on.",
        "The link works once, for 24 hours. If it was not you, do nothing.",
    ];
    letter("Please confirm your new e-mail address", &lines.map(str::to_owned), Some(&link))
}

/// To somebody whose address is to become another one.
pub fn email_change_asked(app_url: &str) -> Letter {
    let link = Link { label: "That was not me", address: format!("{app_url}/reset-password") };
    let lines = [
        "Somebody asked to change the e-mail address that you sign in with to IGNY8.",
        "Nothing changes before the new address is confirmed. If it was not you, choose a new password now.",
    ];
    letter("Your e-mail address is about to change", &lines.map(str::to_owned), Some(&link))
}

/// To the address that somebody had before.
pub fn email_changed(app_url: &str) -> Letter {
    let link = Link { label: "IGNY8", address: app_url.to_owned() };
    let lines = [
        "You sign in to IGNY8 with another e-mail address from now on, and get our mails there.",
        "If it was not you, contact our support at once.",
    ];
    letter("Your e-mail address was changed", &lines.map(str::to_owned), Some(&link))
}

/// What became of a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorChange {
    /// It is asked for from now on.
    Activated,
    /// It is not asked for any more.
    Removed,
}

/// To somebody whose second factor was switched on or off.
pub fn second_factor(app_url: &str, change: FactorChange) -> Letter {
    let link = Link { label: "That was not me", address: format!("{app_url}/reset-password") };
    let (subject, what) = match change {
        FactorChange::Activated => {
            ("Your second factor is on", "From now on a code of your authenticator app is asked for when you sign in.")
        }
        FactorChange::Removed => ("Your second factor is off", "From now on your password alone lets you in."),
    };
    letter(subject, &[what, "If it was not you, choose a new password now."].map(str::to_owned), Some(&link))
}

fn letter(subject: &str, lines: &[String], link: Option<&Link>) -> Letter {
    let (mut text, mut html) = (String::new(), String::from("<!doctype html><html><body style=\"font-family:sans-serif\">"));
    for line in lines {
        text.push_str(line);
        text.push_str("\n\n");
        html.push_str(&format!("<p>{}</p>", escaped(line)));
    }
    if let Some(link) = link {
        text.push_str(&format!("{}:\n{}\n\n", link.label, link.address));
        html.push_str(&format!("<p><a href=\"{}\">{}</a></p>", escaped(&link.address), escaped(link.label)));
    }
    text.push_str("IGNY8\n");
    html.push_str("<p>IGNY8</p></body></html>");
    Letter { subject: one_line(subject), text, html }
}

/// Without line breaks: a subject is a header, and a name must not write headers of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(150).collect()
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_writes_neither_html_nor_headers() {
        let letter = invitation("https://app.example.com", "tok", "<b>Ana</b>\r\nBcc: all@example.com & \"sons\"", "editor");

        assert!(letter.html.contains("&lt;b&gt;Ana&lt;/b&gt;") && !letter.html.contains("<b>"));
        assert!(letter.html.contains("&amp; &quot;sons&quot;"));
        assert!(!letter.subject.contains(['\r', '\n']) && letter.subject.starts_with("You are invited to <b>Ana</b>"));
        assert!(!letter.text.contains("\nBcc"));
    }

    #[test]
    fn both_bodies_lead_to_the_same_place() {
        let letter = password_reset("https://app.example.com", "tok-en_1");

        let address = "https://app.example.com/reset-password?token=tok-en_1";
        assert!(letter.text.contains(address) && letter.html.contains(address));
    }
}
