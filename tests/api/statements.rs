//! Bank statements: read in, matched, and applied by an admin's choice. Issue 5.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;

const STATEMENTS: &str = "/api/v1/billing/admin/statements/";

/// Two customers who owe 89.00 each, and staff.
struct Counter {
    app: TestApp,
    ana: Session,
    staff: Session,
    references: [String; 2],
}

impl Counter {
    async fn open() -> Self {
        let app = TestApp::with(|config| config.throttle_disabled = true).await;
        let (ana, bea, staff) = (app.register("ana@example.com").await, app.register("bea@example.com").await, app.operator().await);
        let upgrade = async |who: &Session| {
            let reply =
                app.post("/api/v1/account/upgrade/").bearer(&who.access).json(json!({"plan_slug": "starter"})).send().await.expect(201);
            reply.data()["reference"].as_str().unwrap().to_owned()
        };
        let references = [upgrade(&ana).await, upgrade(&bea).await];
        Counter { app, ana, staff, references }
    }

    async fn import(&self, query: &str, file: impl Into<Vec<u8>>) -> Reply {
        let call = self.app.post(&format!("{STATEMENTS}{query}")).bearer(&self.staff.access);
        call.body("application/octet-stream", file.into()).send().await
    }

    async fn apply(&self, statement: &Value, lines: Value) -> Vec<Value> {
        let call = self.app.post(&format!("{STATEMENTS}{statement}/apply/")).bearer(&self.staff.access);
        call.json(json!({"lines": lines})).send().await.expect(200).data().as_array().unwrap().clone()
    }

    /// Sure, with a typing error, another amount, by name, nothing, and money that left.
    fn file(&self) -> String {
        let [ana, bea] = &self.references;
        let wrong = format!("{}{}", &bea[..19], if bea.ends_with('7') { '8' } else { '7' });
        format!(
            "Date,Amount,Payer,Description,Reference\n2026-03-01,89.00,Ana,Invoice {ana},BANK-1\n2026-03-01,89.00,Bea,{wrong},BANK-2\n\
             2026-03-01,80.00,Bea,{bea},BANK-3\n2026-03-01,89.00,Somebody,,BANK-4\n2026-03-01,-89.00,Ana,{ana},BANK-5\n"
        )
    }
}

fn certainties(statement: &Reply) -> Vec<String> {
    statement.data()["staged"].as_array().unwrap().iter().map(|line| line["match"]["certainty"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_statement_is_staged_and_matched_and_changes_nothing() {
    let counter = Counter::open().await;

    let read = counter.import("", counter.file()).await.expect(201);
    let again = counter.import("", counter.file()).await.expect(200);
    let overlapping = counter.import("", format!("{}2026-03-02,5.00,Cleo,,BANK-6\n", counter.file())).await.expect(201);

    assert_eq!(certainties(&read), ["sure", "likely", "likely", "none", "none"]);
    assert_eq!((&again.data()["id"], &again.data()["already_imported"]), (&read.data()["id"], &json!(true)));
    assert_eq!((&overlapping.data()["lines"], &overlapping.data()["known_lines"]), (&json!(1), &json!(5)));
    assert_eq!(counter.app.count("select count(*) from payments").await, 0);
    assert_eq!(counter.app.count("select count(*) from bank_statement_lines").await, 6);
    let listed = counter.app.get(STATEMENTS).bearer(&counter.staff.access).send().await.expect(200);
    assert_eq!(listed.body["results"].as_array().unwrap().len(), 2);
    counter.app.verify().await;
}

#[tokio::test]
async fn chosen_lines_become_payments_each_by_itself_and_once() {
    let counter = Arc::new(Counter::open().await);
    let statement = counter.import("", counter.file()).await.expect(201).data()["id"].clone();

    let results = counter.apply(&statement, json!([1, 3, 4, 5, 9])).await;
    let outcomes = results.iter().map(|result| (result["outcome"].as_str().unwrap(), result["code"].as_str())).collect::<Vec<_>>();
    let expected = [
        ("applied", None),
        ("refused", Some("amount_mismatch")),
        ("refused", Some("line_unmatched")),
        ("refused", Some("line_unmatched")),
        ("refused", Some("not_found")),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!(results[0]["confirmation"]["account"]["id"], counter.ana.account_id);

    let parallel = (0..20).map(|_| {
        let (counter, statement) = (Arc::clone(&counter), statement.clone());
        tokio::spawn(async move { counter.apply(&statement, json!([1, 2])).await })
    });
    let done = join_all(parallel).await.into_iter().flat_map(|results| results.unwrap()).filter(|result| result["outcome"] == "applied");
    assert_eq!((done.count(), counter.app.count("select count(*) from payments where status = 'confirmed'").await), (1, 2));
    let page = counter.app.get(&format!("{STATEMENTS}{statement}/?after_line=1")).bearer(&counter.staff.access).send().await.expect(200);
    assert_eq!((&page.data()["applied"], &page.data()["staged"][0]["line"]), (&json!(2), &json!(2)));
    counter.app.verify().await;
}

#[tokio::test]
async fn a_transfer_that_was_confirmed_by_hand_is_not_counted_again() {
    let counter = Counter::open().await;
    let statement = counter.import("", counter.file()).await.expect(201).data()["id"].clone();
    let body = json!({"reference": counter.references[0], "external_payment_id": "BY-HAND", "amount": "89.00", "payer_name": "Ana"});
    counter.app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&counter.staff.access).json(body).send().await.expect(200);

    let results = counter.apply(&statement, json!([1])).await;

    assert_eq!((results[0]["code"].as_str(), counter.app.count("select count(*) from payments").await), (Some("line_unmatched"), 1));
    counter.app.verify().await;
}

#[tokio::test]
async fn each_format_is_read_and_a_broken_file_says_where_and_changes_nothing() {
    let counter = Counter::open().await;
    let ana = &counter.references[0];
    let camt = format!(
        "<Document><BkToCstmrStmt><Stmt><Ntry><Amt Ccy=\"USD\">89.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-01</Dt></BookgDt>\
         <AcctSvcrRef>C-1</AcctSvcrRef><NtryDtls><TxDtls><RmtInf><Ustrd>{ana}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry></Stmt></BkToCstmrStmt></Document>"
    );
    let mt940 = format!(
        ":20:STARTUMS\r\n:25:DABADKKK/111111\r\n:28C:00001/001\r\n:60F:C260301USD100,00\r\n:61:2603010301CR89,00NTRFNONREF//M-1\r\n:86:{ana} M\u{FC}ller\r\n:62F:C260301USD189,00\r\n-\r\n"
    );
    let latin = mt940.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>();
    let semicolons = format!("Tag;Betrag;Text\n01.03.2026;89,00;{ana}\n");

    for (query, file, format) in [
        ("", camt.clone().into_bytes(), "camt053"),
        ("", latin, "mt940"),
        (
            "?delimiter=%3B&decimal=,&date_format=%25d.%25m.%25Y&date_column=Tag&amount_column=Betrag&remittance_column=Text",
            semicolons.into_bytes(),
            "csv",
        ),
    ] {
        let read = counter.import(query, file).await.expect(201);
        assert_eq!((read.data()["format"].as_str(), certainties(&read)), (Some(format), vec!["sure".to_owned()]), "{}", read.text);
    }
    let staged = counter.app.count("select count(*) from bank_statement_lines").await;
    let bomb = format!("<!DOCTYPE d [<!ENTITY a \"{}\">]>{camt}", "a".repeat(1_000));
    let deep = "<a>".repeat(100_000);
    for broken in [
        bomb,
        deep,
        camt.replace("89.00", "-89.00"),
        "Date,Amount\n2026-03-01,1\nsoon,1\n".to_owned(),
        String::new(),
        "\0".to_owned(),
        "\u{FEFF}".to_owned(),
        mt940.replace("89,00", "x"),
    ] {
        let refused = counter.import("", broken).await.expect_code(400, "statement_unreadable");
        assert!(refused.body["line"].as_u64().is_some_and(|line| line >= 1) && refused.body["column"].is_string(), "{}", refused.text);
    }
    counter.import("", "x".repeat(2 * 1024 * 1024 + 1)).await.expect_code(413, "body_too_large");
    counter.import("?colour=red", counter.file()).await.expect(400);
    assert_eq!(counter.app.count("select count(*) from bank_statement_lines").await, staged);
}
