//! What a Pakistani banking app scans: the payment to an IBAN of Raast, the State Bank's system, as fields of number, length and
//! value. How far that is known:
//!
//! - EMVCo's standard for codes that a payee presents says how fields are written and how the last one is computed: CRC-16 over
//!   all bytes before it, its own number and length included. The test holds us to the standard's own example.
//! - The fields of a payment between persons, which are the State Bank's own (circular DI&SD 1 of 2022, section 3.1): `00` "02",
//!   `01` "12" for one with an amount, `02` "00", `04` IBAN, `05` amount, `07` until when in Pakistan's time, `10` the CRC. The
//!   circular itself could not be had. They were taken from public programs and published codes whose CRCs are right; one source
//!   has `02` "30" where all others have "00". No app has scanned ours.
//! - A reference for the transfer has no place in it that those codes show, so that the customer still writes it himself. The
//!   payment to a merchant is another set of fields, for those whom an acquirer has registered; we are none.

pub mod rules;
