//! `igny8 statement`: a bank's file read in, looked at and applied by the real program.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "support for other tests too; a test looks at its environment and waits by the wall clock"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/program.rs"]
mod program;

use database::TestDatabase;
use program::Program;
use serde_json::{Value, json};
use std::{env, fs, path::PathBuf, process::Output};

/// Two customers who owe 89.00 each, and nobody who serves any more.
struct Office {
    database: TestDatabase,
    dir: PathBuf,
    program: Program,
    references: [String; 2],
}

impl Office {
    async fn open() -> Self {
        let database = TestDatabase::new().await;
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(database.url().split('?').next().unwrap().rsplit('/').next().unwrap());
        fs::create_dir_all(&dir).unwrap();
        let mut program = Program::on(dir.clone(), database.url());
        program.start();
        let client = program.client();
        program.ready(&client).await;
        let mut references = Vec::new();
        for email in ["ana@example.com", "bea@example.com"] {
            let (token, _) = client.register(email).await;
            let asked = client.post("/api/v1/account/upgrade/", &token, "", &json!({"plan_slug": "starter"})).await;
            let (status, body) = asked.unwrap();
            assert_eq!(status, 201, "{body}");
            references.push(body["data"]["reference"].as_str().unwrap().to_owned());
        }
        program.kill();
        Office { database, dir, program, references: references.try_into().unwrap() }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Sure, with a typing error, another amount, nothing, and money that left.
    fn csv(&self) -> String {
        let [ana, bea] = &self.references;
        let wrong = format!("{}{}", &bea[..19], if bea.ends_with('7') { '8' } else { '7' });
        let text = format!(
            "Date,Amount,Payer,Description,Reference\n2026-03-01,89.00,Ana,Invoice {ana},BANK-1\n2026-03-01,89.00,Bea,{wrong},BANK-2\n\
             2026-03-01,80.00,Bea,{bea},BANK-3\n2026-03-01,89.00,Somebody,,BANK-4\n2026-03-01,-89.00,Ana,{ana},BANK-5\n"
        );
        self.file("bank.csv", text)
    }

    #[track_caller]
    fn run(&self, code: i32, arguments: &[&str]) -> Told {
        let Output { status, stdout, stderr } = self.program.run(&[&["statement"], arguments].concat(), "");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let told = Told { said: text(stdout), complained: text(stderr) };
        assert_eq!(status.code(), Some(code), "{told:?}");
        assert!(!told.complained.contains("panicked"), "{told:?}");
        told
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.database.pool()).await.unwrap()
    }

    async fn close(self) {
        self.program.verify();
        self.database.close().await;
        fs::remove_dir_all(&self.dir).unwrap();
    }
}

#[derive(Debug)]
struct Told {
    said: String,
    complained: String,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.said).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A row of a table by its first cell, its cells between wide gaps.
    fn row(&self, first: &str) -> Vec<String> {
        let rows = self.said.lines().map(|line| line.trim().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned));
        rows.map(Iterator::collect::<Vec<_>>)
            .find(|row| row.first().is_some_and(|cell| cell == first))
            .unwrap_or_else(|| panic!("{self:?}"))
    }
}

fn certainties(statement: &Value) -> Vec<&str> {
    statement["staged"].as_array().unwrap().iter().map(|line| line["match"]["certainty"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_csv_is_staged_and_shown_as_a_table_and_the_same_file_again_says_so() {
    let office = Office::open().await;
    let (file, ana) = (office.csv(), office.references[0].clone());

    let table = office.run(0, &["import", &file]);
    let again = office.run(0, &["import", &file, "--json"]).json();
    let told_again = office.run(0, &["import", &file]);
    let shown = office.run(0, &["show", "1", "--json"]).json();

    let remittance = format!("Invoice {ana}");
    let sure = ["1", "2026-03-01", "89.00 USD", "Ana", remittance.as_str(), "sure", "payment reference and amount"];
    let row = table.row("1");
    assert_eq!(row[..7], sure.map(str::to_owned), "{}", table.said);
    assert!(row[7].starts_with("INV-") && row[8].contains("ana"), "{row:?}");
    assert_eq!(table.row("5")[2], "-89.00 USD");
    assert!(table.said.starts_with("Statement 1 (csv): 5 line(s), 0 applied."), "{}", table.said);
    assert_eq!((&again["already_imported"], certainties(&again)), (&json!(true), vec!["sure", "likely", "likely", "none", "none"]));
    assert!(told_again.said.starts_with("This very file was read in before, by cli on "), "{told_again:?}");
    assert_eq!(shown["staged"], again["staged"]);
    assert_eq!(office.count("select count(*) from payments").await, 0);
    assert_eq!(office.count("select count(*) from bank_statements where actor = 'cli'").await, 1);
    office.close().await;
}

#[tokio::test]
async fn chosen_lines_become_payments_and_a_refused_one_ends_with_1() {
    let office = Office::open().await;
    office.run(0, &["import", &office.csv()]);

    let dry = office.run(0, &["apply", "1", "--sure", "--dry-run"]);
    let none_yet = office.count("select count(*) from payments").await;
    let sure = office.run(0, &["apply", "1", "--sure", "--json"]).json();
    let chosen = office.run(1, &["apply", "1", "--lines", "1,2,3,4,9"]);
    let nothing_left = office.run(0, &["apply", "1", "--sure"]);
    let shown = office.run(0, &["show", "1"]);

    assert!(dry.said.contains("Dry run, nothing written: Starter is active for"), "{dry:?}");
    assert_eq!(none_yet, 0);
    assert_eq!((sure.as_array().unwrap().len(), &sure[0]["line"], &sure[0]["outcome"]), (1, &json!(1), &json!("applied")));
    let outcomes = ["1", "2", "3", "4", "9"].map(|line| chosen.row(line)[1].clone());
    assert_eq!(outcomes, ["already_applied", "applied", "refused", "refused", "refused"], "{}", chosen.said);
    assert!(chosen.complained.is_empty() && chosen.row("9")[2] == "The statement has no line 9.", "{chosen:?}");
    assert!(nothing_left.said.starts_with("No line is sure"), "{nothing_left:?}");
    assert_eq!(shown.row("2")[5], "applied", "{}", shown.said);
    assert_eq!(office.count("select count(*) from payments where status = 'confirmed' and confirmed_by is null").await, 2);
    assert_eq!(office.count("select count(*) from audit_log where action = 'transfer.confirmed' and actor = 'cli'").await, 2);
    office.close().await;
}

#[tokio::test]
async fn camt_and_mt940_are_read_by_their_beginning_and_a_banks_own_columns_as_they_are_named() {
    let office = Office::open().await;
    let [ana, bea] = &office.references;
    let camt = format!(
        "<Document><BkToCstmrStmt><Stmt><Ntry><Amt Ccy=\"USD\">89.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts><BookgDt><Dt>2026-03-01</Dt></BookgDt>\
         <AcctSvcrRef>C-1</AcctSvcrRef><NtryDtls><TxDtls><RmtInf><Ustrd>{ana}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry></Stmt></BkToCstmrStmt></Document>"
    );
    let mt940 = format!(
        ":20:STARTUMS\r\n:25:DABADKKK/111111\r\n:28C:00001/001\r\n:60F:C260301USD100,00\r\n:61:2603010301CR89,00NTRFNONREF//M-1\r\n:86:{bea} Bea\r\n:62F:C260301USD189,00\r\n-\r\n"
    );
    let german = format!("Tag;Betrag;Text\n02.03.2026;89,00;{ana}\n");

    let camt = office.run(0, &["import", &office.file("camt.xml", camt), "--json"]).json();
    let mt940 = office.run(0, &["import", &office.file("mt940.sta", mt940), "--json"]).json();
    let columns = ["--delimiter", ";", "--decimal", ",", "--date-format", "%d.%m.%Y", "--date-column", "Tag", "--amount-column", "Betrag"];
    let german = office.file("german.csv", german);
    let named = [&["import", &german, "--json", "--remittance-column", "Text"], &columns[..]].concat();
    let german = office.run(0, &named).json();

    for (statement, format) in [(&camt, "camt053"), (&mt940, "mt940"), (&german, "csv")] {
        assert_eq!((statement["format"].as_str(), certainties(statement)), (Some(format), vec!["sure"]), "{statement}");
    }
    office.run(0, &["apply", "2", "--sure"]);
    assert_eq!(office.count("select count(*) from payments where status = 'confirmed'").await, 1);
    office.close().await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_in_one_sentence() {
    let office = Office::open().await;
    let good = office.csv();
    let broken = office.file("broken.csv", "Date,Amount\n2026-03-01,1\nsoon,1\n");
    let other = office.file("other.csv", "a,b\n1,2\n");
    let large = office.file("large.csv", "x".repeat(2 * 1024 * 1024 + 1));
    let cases: [(i32, Vec<&str>, &str); 6] = [
        (1, vec!["import", &broken], "nothing of it was taken: line 3, Date"),
        (1, vec!["import", &other], "there is no such column; choose a profile or name the columns"),
        (1, vec!["import", &large], "more than 2 MiB"),
        (1, vec!["show", "77"], "there is no such statement"),
        (2, vec!["import", "nowhere.csv"], "nowhere.csv can't be read"),
        (
            2,
            vec!["import", &good, "--delimiter", "ab", "--decimal", "x"],
            "--delimiter: Give one sign such as ; between columns. --decimal",
        ),
    ];

    for (code, arguments, words) in cases {
        let told = office.run(code, &arguments);

        assert!(told.complained.contains(words) && told.complained.lines().count() == 1 && told.said.is_empty(), "{told:?}");
    }
    office.run(2, &["import", &good, "--format", "pdf"]);
    let neither = office.run(2, &["apply", "1"]);
    assert!(neither.complained.contains("--lines <LINES>|--sure"), "{neither:?}");
    assert_eq!(office.count("select count(*) from bank_statements").await, 0);
    office.close().await;
}
