//! CAMT.053 as lines: read event by event, so that nothing that nests deep is kept. No I/O.

use crate::{
    billing::statements::{
        model::{Direction, ReadLine, StatementFault},
        rules::LINES_MAX,
    },
    money::Money,
};
use chrono::NaiveDate;
use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};
use rust_decimal::Decimal;

/// Elements within elements at the most; the standard needs twelve.
const DEPTH_MAX: usize = 32;

/// What an entry, or one of the payments that it sums up, says.
#[derive(Clone, Debug, Default)]
struct Part {
    amount: Option<(String, String)>,
    direction: String,
    status: String,
    day: String,
    payer: String,
    remittance: String,
    reference: String,
}

/// An entry under way: what it says itself, and its payments.
#[derive(Clone, Debug, Default)]
struct Entry {
    own: Part,
    parts: Vec<Part>,
}

/// Reads all booked entries. Document types are refused: with them come entities that grow without end.
pub fn read(text: &str) -> Result<Vec<ReadLine>, StatementFault> {
    let mut reader = Reader::from_str(text);
    let (mut path, mut entry, mut lines) = (Vec::<String>::new(), None::<Entry>, Vec::new());
    loop {
        let position = || usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let here = position();
        let fault = |what: &str| StatementFault::at_byte(text, here, what);
        match reader.read_event().map_err(|_| fault("this is no well-formed XML"))? {
            Event::DocType(_) => return Err(fault("a document type is not taken")),
            Event::Start(element) => {
                if path.len() == DEPTH_MAX {
                    return Err(fault("the elements nest too deep"));
                }
                path.push(name(&element));
                open(&path, &element, &mut entry);
            }
            Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Text(words) => put(&path, words.as_ref(), &mut entry),
            Event::CData(words) => put(&path, words.as_ref(), &mut entry),
            Event::GeneralRef(entity) => {
                let letter = letter(entity.as_ref()).ok_or_else(|| fault("an entity is not known"))?;
                put(&path, letter.encode_utf8(&mut [0; 4]), &mut entry);
            }
            Event::End(_) => {
                let ended = path.pop();
                if ended.as_deref() == Some("Ntry")
                    && let Some(done) = entry.take()
                {
                    lines.extend(done.lines(&fault)?);
                }
                if lines.len() > LINES_MAX {
                    return Err(fault("a file has at most 2,000 lines; split it"));
                }
            }
            Event::Eof if path.is_empty() => return Ok(lines),
            Event::Eof => return Err(fault("the file ends in the middle")),
        }
    }
}

fn name(element: &BytesStart<'_>) -> String {
    element.local_name().as_ref().to_owned()
}

/// The predefined entities, and letters by number.
fn letter(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = number.strip_prefix('x').map_or_else(|| number.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            code.and_then(char::from_u32)
        }
    }
}

/// An entry or a payment of it begins, or an amount with its currency.
fn open(path: &[String], element: &BytesStart<'_>, entry: &mut Option<Entry>) {
    let within = path.iter().map(String::as_str).skip_while(|name| *name != "Ntry").collect::<Vec<_>>();
    match within[..] {
        ["Ntry"] => *entry = Some(Entry::default()),
        ["Ntry", "NtryDtls", "TxDtls"] => entry.iter_mut().for_each(|entry| entry.parts.push(Part::default())),
        ["Ntry", "Amt"] | ["Ntry", "NtryDtls", "TxDtls", "Amt"] => {
            let currency = element.attributes().flatten().find(|attribute| attribute.key.local_name().as_ref() == "Ccy");
            let currency = currency.map(|attribute| attribute.value.into_owned()).unwrap_or_default();
            if let Some(part) = entry.as_mut().map(|entry| entry.at(within.len() > 2)) {
                part.amount = Some((String::new(), currency));
            }
        }
        _ => {}
    }
}

/// Text stands where it says something.
fn put(path: &[String], words: &str, entry: &mut Option<Entry>) {
    let within = path.iter().map(String::as_str).skip_while(|name| *name != "Ntry").collect::<Vec<_>>();
    let Some(entry) = entry else { return };
    let (part, rest) = match within.strip_prefix(&["Ntry", "NtryDtls", "TxDtls"]) {
        Some(rest) => (entry.at(true), rest),
        None => (entry.at(false), within.get(1..).unwrap_or(&[])),
    };
    match *rest {
        ["Amt"] => part.amount.iter_mut().for_each(|(amount, _)| amount.push_str(words)),
        ["CdtDbtInd"] => part.direction.push_str(words.trim()),
        ["Sts"] | ["Sts", "Cd"] => part.status.push_str(words.trim()),
        ["BookgDt", "Dt" | "DtTm"] => part.day.push_str(words.trim()),
        ["AcctSvcrRef"] | ["Refs", "AcctSvcrRef"] => part.reference.push_str(words.trim()),
        ["RltdPties", "Dbtr", "Nm"] | ["RltdPties", "Dbtr", "Pty", "Nm"] => part.payer.push_str(words),
        ["RmtInf", "Ustrd"] | ["RmtInf", "Strd", "CdtrRefInf", "Ref"] => {
            part.remittance.push_str(words);
            part.remittance.push(' ');
        }
        _ => {}
    }
}

impl Entry {
    /// The payment under way, or the entry itself.
    fn at(&mut self, is_part: bool) -> &mut Part {
        match self.parts.last_mut() {
            Some(part) if is_part => part,
            Some(_) | None => &mut self.own,
        }
    }

    /// One line, or one of each payment where it sums up several. What is not booked is not there yet.
    fn lines(self, fault: &impl Fn(&str) -> StatementFault) -> Result<Vec<ReadLine>, StatementFault> {
        if !self.own.status.is_empty() && self.own.status != "BOOK" {
            return Ok(Vec::new());
        }
        match &self.parts[..] {
            [] => Ok(vec![self.own.line(&Part::default(), fault)?]),
            [one] => Ok(vec![one.line(&self.own, fault)?]),
            several => {
                several.iter().map(|part| part.line(&Part { amount: None, reference: String::new(), ..self.own.clone() }, fault)).collect()
            }
        }
    }
}

impl Part {
    /// What it says, and the entry where it says nothing.
    fn line(&self, entry: &Part, fault: &impl Fn(&str) -> StatementFault) -> Result<ReadLine, StatementFault> {
        let or = |own: &str, entrys: &str| if own.is_empty() { entrys.to_owned() } else { own.to_owned() };
        let (amount, currency) = self.amount.as_ref().or(entry.amount.as_ref()).ok_or_else(|| fault("Amt is missing"))?;
        let amount = Decimal::from_str_exact(amount.trim()).map_err(|_| fault("Amt is no amount"))?;
        let amount = Money::from_decimal(amount).map_err(|error| fault(&format!("Amt can't be taken: {error}")))?;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(fault("Ccy is no currency"));
        }
        let direction = match or(&self.direction, &entry.direction).as_str() {
            "CRDT" => Direction::In,
            "DBIT" => Direction::Out,
            _ => return Err(fault("CdtDbtInd is neither CRDT nor DBIT")),
        };
        let day = or(&self.day, &entry.day);
        let day = day.get(..10).and_then(|day| day.parse::<NaiveDate>().ok()).ok_or_else(|| fault("BookgDt is no day"))?;
        Ok(ReadLine {
            booked_on: day,
            amount,
            direction,
            currency: currency.clone(),
            payer_name: self.payer.clone(),
            remittance: self.remittance.clone(),
            bank_reference: or(&self.reference, &entry.reference),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(entries: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt><Stmt>\n{entries}\n</Stmt></BkToCstmrStmt></Document>"
        )
    }

    fn entry(amount: &str, rest: &str) -> String {
        format!(
            "<Ntry><Amt Ccy=\"USD\">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-03-02</Dt></BookgDt><AcctSvcrRef>B-1</AcctSvcrRef>{rest}</Ntry>"
        )
    }

    fn details(rest: &str) -> String {
        format!(
            "<NtryDtls><TxDtls>{rest}<RltdPties><Dbtr><Pty><Nm>Ana &amp; S&#246;hne</Nm></Pty></Dbtr></RltdPties><RmtInf><Ustrd>RF27</Ustrd><Ustrd>IG</Ustrd></RmtInf></TxDtls></NtryDtls>"
        )
    }

    #[test]
    fn entries_and_what_they_sum_up_are_lines() {
        let one = read(&document(&entry("89.00", &details("")))).unwrap();
        assert_eq!(
            (one.len(), one[0].payer_name.as_str(), one[0].remittance.trim(), one[0].bank_reference.as_str()),
            (1, "Ana & S\u{F6}hne", "RF27 IG", "B-1")
        );
        assert_eq!((one[0].amount.to_string().as_str(), one[0].direction, one[0].currency.as_str()), ("89.00", Direction::In, "USD"));

        let two = format!("{}{}", details("<Amt Ccy=\"USD\">40</Amt>"), details("<Amt Ccy=\"USD\">49</Amt>"));
        let two = read(&document(&entry("89.00", &two))).unwrap();
        assert_eq!(two.iter().map(|line| line.amount.to_string()).collect::<Vec<_>>(), ["40.00", "49.00"]);
        let pending = entry("89.00", "").replace("BOOK", "PDNG");
        assert_eq!(read(&document(&pending)).unwrap(), []);
    }

    #[test]
    fn hostile_xml_is_refused_with_its_place() {
        let bomb = format!("<!DOCTYPE a [<!ENTITY a \"aaaa\">]>{}", document(&entry("&a;", "")));
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let broken = document(&entry("eighty", ""));

        for text in [bomb, deep, document("&a;"), document("<Ntry>"), document("</Ntry>"), "<".to_owned(), document(&entry("-1", ""))] {
            assert!(read(&text).is_err(), "{text:.80}");
        }
        assert_eq!(read(&broken).unwrap_err().line, 3);
    }
}
