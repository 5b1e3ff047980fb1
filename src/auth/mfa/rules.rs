//! Which code an app shows when, and what a recovery code looks like.

use crate::{auth::model::Email, clock::Timestamp, ids::UserId, secrets};
use totp_rs::{Builder, Secret, Totp};

/// Bytes of a secret (RFC 4226, section 4: 160 bits).
pub const SECRET_BYTES: usize = 20;
/// How many recovery codes somebody has.
pub const RECOVERY_CODES: usize = 10;
/// Bytes of one: 80 bits, sixteen characters.
pub const RECOVERY_CODE_BYTES: usize = 10;
/// Characters between two hyphens of one.
const GROUP_CHARS: usize = 4;
/// Digits of an app's code.
const DIGITS: usize = 6;

/// Six digits that change every thirty seconds; one step early or late is let pass (RFC 6238, section 5.2).
fn totp(secret: &[u8]) -> Option<Totp> {
    Builder::new().with_secret(Secret::new(secret.into())).build().ok()
}

/// Whether a code has the form of an app's.
pub fn is_of_an_app(code: &str) -> bool {
    code.len() == DIGITS && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// The step that a code belongs to, if it is right at `now` and of a newer step than the last one that was used: a code that
/// was seen over a shoulder opens nothing any more.
pub fn step_of(secret: &[u8], code: &str, last_step: i64, now: Timestamp) -> Option<i64> {
    let step = totp(secret)?.check(code, u64::try_from(now.timestamp()).ok()?)?;
    i64::try_from(step).ok().filter(|step| last_step < *step)
}

/// The secret in base 32.
pub fn shown_secret(secret: &[u8]) -> String {
    Secret::new(secret.into()).to_base32()
}

/// What an app reads from a QR code.
pub fn otpauth_uri(secret: &[u8], email: &Email) -> String {
    let label = form_urlencoded::byte_serialize(email.as_str().as_bytes()).collect::<String>();
    format!("otpauth://totp/IGNY8:{label}?secret={}&issuer=IGNY8&algorithm=SHA1&digits={DIGITS}&period=30", shown_secret(secret))
}

/// A recovery code as it is shown: `ABCD-EFGH-IJKL-MNOP`.
pub fn shown_recovery_code(bytes: &[u8; RECOVERY_CODE_BYTES]) -> String {
    let plain = shown_secret(bytes).chars().collect::<Vec<_>>();
    plain.chunks(GROUP_CHARS).map(String::from_iter).collect::<Vec<_>>().join("-")
}

/// What is stored of a recovery code, without hyphens.
pub fn recovery_code_sha256(user: UserId, code: &str) -> [u8; 32] {
    let plain = code.replace('-', "");
    secrets::hash_parts(&[b"recovery code", &user.0.to_be_bytes(), plain.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1, the last six of eight digits.
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")] {
            assert_eq!(step_of(SECRET, code, 0, at(second)), Some(second / 30), "{second}");
        }
        assert_eq!(step_of(SECRET, "287083", 0, at(59)), None);
        for bent in ["", "28708", "2870820", "+87082", "28708a", "２８７０８２"] {
            assert_eq!(step_of(SECRET, bent, 0, at(59)), None, "{bent}");
        }
    }

    #[test]
    fn a_code_is_right_one_step_early_or_late_and_once() {
        // The code of step 1: seconds 30 to 59.
        let judge = |second, last_step| step_of(SECRET, "287082", last_step, at(second));

        assert_eq!((judge(0, 0), judge(59, 0), judge(89, 0), judge(90, 0)), (Some(1), Some(1), Some(1), None));
        assert_eq!((judge(59, 1), judge(59, 2)), (None, None), "used, or older than one that was used");
    }

    #[test]
    fn an_app_is_given_the_same_secret_twice() {
        let email = Email::parse("ana+x@example.com").unwrap();

        let uri = otpauth_uri(SECRET, &email);

        assert_eq!(
            uri,
            "otpauth://totp/IGNY8:ana%2Bx%40example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=IGNY8&algorithm=SHA1&digits=6&period=30"
        );
        assert!(uri.contains(&shown_secret(SECRET)));
    }

    #[test]
    fn a_recovery_code_is_its_users_and_its_hyphens_do_not_count() {
        let shown = shown_recovery_code(b"0123456789");

        assert_eq!(shown, "GAYT-EMZU-GU3D-OOBZ");
        assert_eq!(recovery_code_sha256(UserId(7), &shown), recovery_code_sha256(UserId(7), "GAYTEMZUGU3DOOBZ"));
        assert_ne!(recovery_code_sha256(UserId(7), &shown), recovery_code_sha256(UserId(8), &shown));
        assert!(is_of_an_app("000000") && !is_of_an_app(&shown));
    }
}
