//! Invoices and receipts as PDF: read by pdftotext, checked by qpdf, the same bytes each time.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Session, TestApp, tool};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// A seller, a customer with an open invoice, and staff.
struct Desk {
    app: TestApp,
    ana: Session,
}

impl Desk {
    async fn with_invoice() -> Self {
        let app = TestApp::with(|config| {
            config.throttle_disabled = true;
            config.seller_name = "IGNY8 Ltd".to_owned();
            config.seller_address = vec!["1 Example Street".to_owned(), "London".to_owned()];
            config.seller_tax_id = Some("GB000000000".to_owned());
        })
        .await;
        let ana = app.register("ana@example.com").await;
        let desk = Desk { app, ana };
        desk.post("account/upgrade/", json!({"plan_slug": "starter"})).await;
        desk
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let reply = self.app.post(&format!("/api/v1/{path}")).bearer(&self.ana.access).json(body).send().await;
        assert!(reply.status.is_success(), "{}", reply.text);
        reply.data().clone()
    }

    async fn rename(&self, details: Value) {
        self.app.patch("/api/v1/account/").bearer(&self.ana.access).json(details).send().await.expect(200);
    }

    async fn invoice(&self) -> Value {
        self.app.get("/api/v1/billing/invoices/").bearer(&self.ana.access).send().await.expect(200).body["results"][0].clone()
    }

    async fn pdf(&self) -> Vec<u8> {
        let path = format!("/api/v1/billing/invoices/{}/download_pdf/", self.invoice().await["id"]);
        let reply = self.app.get(&path).bearer(&self.ana.access).send().await.expect(200);
        let name = format!("attachment; filename=\"{}.pdf\"", self.invoice().await["number"].as_str().unwrap());
        assert_eq!((reply.header("content-type"), reply.header("content-disposition")), ("application/pdf".to_owned(), name));
        reply.bytes
    }

    /// Its open invoice is to be paid in that currency, to there.
    async fn pay_to(&self, currency: &str, details: &str) {
        self.app.run(format!("update invoices set currency = '{currency}', bank_details = '{details}'")).await;
    }

    /// What a camera reads from the page.
    async fn scanned(&self, name: &str) -> Vec<String> {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("scanned-{name}"));
        fs::write(file.with_extension("pdf"), self.pdf().await).unwrap();
        let mut drawing = tool("pdftoppm", "poppler-utils");
        let drawn = drawing.args(["-gray", "-r", "150", "-singlefile"]).arg(file.with_extension("pdf")).arg(&file).output().unwrap();
        assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
        let (width, height, pixels) = greys(&fs::read(file.with_extension("pgm")).unwrap());
        let mut page = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels[y * width + x]);
        page.detect_grids().iter().map(|grid| grid.decode().unwrap().1).collect()
    }

    /// The PDF's words, once qpdf has found nothing wrong with it.
    async fn words(&self, name: &str) -> String {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.pdf"));
        fs::write(&file, self.pdf().await).unwrap();
        let checked = tool("qpdf", "qpdf").arg("--check").arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
        let read = tool("pdftotext", "poppler-utils").args(["-layout", "-enc", "UTF-8"]).arg(&file).arg("-").output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        String::from_utf8(read.stdout).unwrap()
    }
}

/// Width, height and pixels of a binary PGM.
fn greys(file: &[u8]) -> (usize, usize, Vec<u8>) {
    let mut words = file.splitn(4, |byte| byte.is_ascii_whitespace());
    let mut word = || words.next().unwrap();
    assert_eq!(word(), b"P5");
    let number = |word: &[u8]| std::str::from_utf8(word).unwrap().parse::<usize>().unwrap();
    let (width, height) = (number(word()), number(word()));
    (width, height, file[file.len() - width * height..].to_vec())
}

#[tokio::test]
async fn an_open_invoice_says_who_sells_what_to_whom_and_how_to_pay() {
    let desk = Desk::with_invoice().await;
    desk.rename(json!({"name": "Ana & Sons", "billing_address": {"street": "2 Sample Road", "city": "Leeds", "country": "GB"}})).await;
    let invoice = desk.invoice().await;

    let words = desk.words("open").await;

    let number = invoice["number"].as_str().unwrap();
    let reference = invoice["reference"].as_str().unwrap();
    let told =
        ["Invoice", "IGNY8 Ltd", "1 Example Street", "Tax ID: GB000000000", "Ana & Sons", "2 Sample Road", "Leeds", number, reference];
    let paying =
        ["Starter plan, 30 days", "89.00 USD", "Please transfer to", "IBAN", "XX00EXAM0000000000000000", "2026-03-01", "2026-03-08"];
    for word in told.into_iter().chain(paying) {
        assert!(words.contains(word), "{word} in {words}");
    }
    assert!(!words.contains("PAID") && !words.contains("VOID"), "{words}");
}

#[tokio::test]
async fn a_paid_invoice_is_a_receipt_and_a_void_one_says_so() {
    let desk = Desk::with_invoice().await;
    let staff = desk.app.operator().await;
    let transfer = json!({"account_id": desk.ana.account_id, "external_payment_id": "BT-1", "amount": "89.00", "payer_name": "Ana"});
    desk.app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&staff.access).json(transfer).send().await.expect(200);

    let paid = desk.words("paid").await;
    desk.post("account/upgrade/", json!({"plan_slug": "growth"})).await;
    let path = format!("/api/v1/billing/admin/invoices/{}/void/", desk.invoice().await["id"]);
    desk.app.post(&path).bearer(&staff.access).json(json!({"reason": "asked for by mistake"})).send().await.expect(200);
    let void = desk.words("void").await;

    assert!(paid.contains("Receipt") && paid.contains("PAID") && !paid.contains("Please transfer to"), "{paid}");
    assert!(void.contains("Invoice") && void.contains("VOID") && !void.contains("Please transfer to"), "{void}");
}

#[tokio::test]
async fn the_same_invoice_is_the_same_file_byte_for_byte() {
    let desk = Desk::with_invoice().await;

    let first = desk.pdf().await;
    desk.app.advance(std::time::Duration::from_secs(60));
    let second = desk.pdf().await;

    assert!(first.starts_with(b"%PDF-") && first.len() < 200_000, "{} bytes", first.len());
    assert_eq!(first, second);
}

#[tokio::test]
async fn names_of_all_alphabets_break_nothing() {
    let desk = Desk::with_invoice().await;
    let address = json!({"street": "улица Пушкина 7", "city": "Αθήνα", "state": "كراچی", "note": "山田太郎 🙂", "line1": "x".repeat(400)});
    desk.rename(json!({"name": "Łukasz Þórsson, Ελένη & Ольга", "billing_address": address})).await;

    let words = desk.words("alphabets").await;

    for word in ["Łukasz Þórsson, Ελένη & Ольга", "улица Пушкина 7", "Αθήνα", &"x".repeat(36)] {
        assert!(words.contains(word), "{word} in {words}");
    }
}

#[tokio::test]
async fn an_invoice_in_euros_has_a_code_that_is_scanned_from_the_page() {
    let desk = Desk::with_invoice().await;
    desk.pay_to("EUR", r#"{"account_title": "IGNY8 Ltd", "iban": "DE89 3704 0044 0532 0130 00", "swift": "COBADEFF"}"#).await;
    let reference = desk.invoice().await["reference"].as_str().unwrap().to_owned();

    let (words, codes) = (desk.words("euros").await, desk.scanned("euros").await);

    assert!(words.contains("89.00 EUR"), "{words}");
    assert_eq!(codes, [format!("BCD\n002\n1\nSCT\nCOBADEFF\nIGNY8 Ltd\nDE89370400440532013000\nEUR89.00\n\n{reference}")]);
}

#[tokio::test]
async fn an_invoice_in_rupees_has_a_raast_code_that_is_scanned_from_the_page() {
    let desk = Desk::with_invoice().await;
    desk.pay_to("PKR", r#"{"account_title": "IGNY8", "bank_name": "Example Bank", "iban": "PK33ABCD0000000000000000"}"#).await;

    let (words, codes) = (desk.words("rupees").await, desk.scanned("rupees").await);

    // Due on 2026-03-08 at midnight in UTC, and a month more.
    assert!(words.contains("89.00 PKR"), "{words}");
    let [code] = &codes[..] else { panic!("{codes:?}") };
    let (fields, crc) = code.split_at(code.len() - 4);
    assert_eq!(fields, "0002020102120202000424PK33ABCD0000000000000000050289071207042026235910 04".replace(' ', ""));
    assert!(crc.chars().all(|sign| sign.is_ascii_hexdigit()), "{code}");
}

#[tokio::test]
async fn no_code_is_drawn_where_the_currency_has_none_or_the_iban_is_wrong() {
    let desk = Desk::with_invoice().await;

    let dollars = desk.scanned("dollars").await;
    desk.pay_to("PKR", r#"{"iban": "PK00EXAM0000000000000003"}"#).await;
    let invented = desk.scanned("invented").await;

    assert_eq!((dollars.len(), invented.len()), (0, 0));
}
