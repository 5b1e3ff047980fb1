//! The text of a Raast code. No I/O.

use crate::{clock::Timestamp, money::Money};
use chrono::{Days, FixedOffset};

/// An IBAN of Pakistan has so many signs.
const IBAN_CHARS: usize = 24;
/// An amount has at most so many.
const AMOUNT_CHARS_MAX: usize = 10;
/// An app refuses a code whose day is over: ours lasts so long after the invoice is due, for late money is welcome.
const DAYS_AFTER_DUE: u64 = 30;
/// Pakistan's time, ahead of UTC, in seconds.
const ZONE_SECONDS: i32 = 5 * 3_600;

/// The code for an amount to an IBAN, for an invoice that is due then. None where the IBAN is none of Pakistan's, or its check
/// digits are wrong: money would go astray.
pub fn code(iban: &str, amount: Money, due_at: Timestamp) -> Option<String> {
    let iban = iban.chars().filter(|sign| !sign.is_whitespace()).collect::<String>().to_ascii_uppercase();
    if iban.len() != IBAN_CHARS || !iban.starts_with("PK") || !is_iban(&iban) || amount.is_zero() {
        return None;
    }
    let amount = amount.to_string();
    let amount = amount.strip_suffix(".00").unwrap_or(&amount);
    let last_day = due_at.with_timezone(&FixedOffset::east_opt(ZONE_SECONDS)?).date_naive().checked_add_days(Days::new(DAYS_AFTER_DUE))?;
    let fits = amount.len() <= AMOUNT_CHARS_MAX;
    let until = format!("{}2359", last_day.format("%d%m%Y"));
    fits.then(|| sealed(&[("00", "02"), ("01", "12"), ("02", "00"), ("04", &iban), ("05", amount), ("07", &until)], "10"))
}

/// Fields one after the other, and the CRC over all of it as the last one.
fn sealed(fields: &[(&str, &str)], crc_field: &str) -> String {
    let written = fields.iter().map(|(number, value)| format!("{number}{:02}{value}", value.len())).collect::<String>();
    let unsealed = format!("{written}{crc_field}04");
    let crc = crc16(unsealed.as_bytes());
    format!("{unsealed}{crc:04X}")
}

/// CRC-16 as EMVCo wants it: polynomial 1021, from FFFF, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        let shifted = |crc: u16| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| shifted(crc))
    })
}

/// Whether an IBAN's check digits fit (ISO 13616): with its beginning at its end and letters as numbers, the rest by 97 is 1.
fn is_iban(iban: &str) -> bool {
    let Some((beginning, rest)) = iban.split_at_checked(4) else { return false };
    let rest = rest.chars().chain(beginning.chars()).try_fold(0, |rest, sign| {
        let value = sign.to_digit(36)?;
        Some((if value < 10 { rest * 10 + value } else { rest * 100 + value }) % 97)
    });
    rest == Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An invented account with the right check digits.
    const IBAN: &str = "PK33ABCD0000000000000000";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_crc_is_the_one_of_the_standard_and_of_its_example() {
        let example = "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT6007BEIJING64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***0708A60086670902ME91320016A0112233449988770708123456786304";

        assert_eq!(crc16(b"123456789"), 0x29B1);
        assert_eq!(format!("{:04X}", crc16(example.as_bytes())), "A13A");
    }

    #[test]
    fn fields_are_written_as_other_programs_write_them() {
        let fields = |amount, until| [("00", "02"), ("01", "12"), ("02", "00"), ("04", IBAN), ("05", amount), ("07", until)];

        assert_eq!(
            sealed(&[("00", "02"), ("01", "11"), ("02", "00"), ("04", IBAN)], "10"),
            "0002020102110202000424PK33ABCD00000000000000001004BA20"
        );
        assert_eq!(
            sealed(&fields("500", "311220262359"), "10"),
            "0002020102120202000424PK33ABCD0000000000000000050350007123112202623591004EC99"
        );
        assert_eq!(
            sealed(&fields("5000.50", "311220261830"), "10"),
            "0002020102120202000424PK33ABCD000000000000000005075000.50071231122026183010041E4C"
        );
    }

    #[test]
    fn a_code_lasts_a_month_after_the_invoice_is_due_by_pakistans_clock() {
        let code = code("pk33 abcd 0000 0000 0000 0000", "500".parse().unwrap(), at("2026-11-30T20:00:00Z")).unwrap();

        assert_eq!(code, "0002020102120202000424PK33ABCD0000000000000000050350007123112202623591004EC99");
    }

    #[test]
    fn a_wrong_iban_or_amount_makes_no_code() {
        let made = |iban: &str, amount: &str| code(iban, amount.parse().unwrap(), at("2026-11-30T20:00:00Z")).is_some();

        assert!(made(IBAN, "9999999.99"));
        for iban in [
            "PK00ABCD0000000000000000",
            "PK33ABCD000000000000000",
            "GB82WEST12345698765432",
            "DE89370400440532013000",
            "PK33ABCD00000000000000-0",
            "",
        ] {
            assert!(!made(iban, "1"), "{iban}");
        }
        assert!(!made(IBAN, "0") && !made(IBAN, "99999999.99"), "eleven signs are too many");
    }
}
