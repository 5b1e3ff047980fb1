//! Draws a paper as a PDF of one A4 page. The fonts are embedded, so that names in Latin, Greek, Cyrillic, Arabic, Hebrew,
//! Armenian and Georgian letters look the same everywhere; what they lack shows as an empty box and stays text to be copied.

use super::model::{Paper, Stamp};
use chrono::{Datelike as _, Timelike as _};
use krilla::{
    Document,
    color::rgb,
    geom::{PathBuilder, Point, Rect},
    metadata::{DateTime, Metadata},
    page::PageSettings,
    paint::Fill,
    surface::Surface,
    text::{Font, TextDirection},
};
use qrcode::{Color, EcLevel, QrCode};

static REGULAR: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans.ttf");
static BOLD: &[u8] = include_bytes!("../../../assets/fonts/DejaVuSans-Bold.ttf");

/// A4, in points.
const PAGE: (i16, i16) = (595, 842);
const LEFT: i16 = 56;
const MIDDLE: i16 = 310;
const RIGHT: i16 = 539;
const AMOUNTS: i16 = 430;
const VALUES: i16 = 170;
const LINE: i16 = 14;
/// The stamp's upper left corner.
const STAMP: (i16, i16) = (415, 46);
const SMALL: i16 = 9;
const NORMAL: i16 = 10;
const LARGE: i16 = 22;
/// Side of one module of a QR code.
const MODULE: i16 = 3;

const INK: (u8, u8, u8) = (34, 34, 34);
const PALE: (u8, u8, u8) = (110, 110, 110);
const GREEN: (u8, u8, u8) = (22, 128, 61);
const RED: (u8, u8, u8) = (185, 28, 28);

/// Why a paper could not be drawn. Ours, always: nothing that a customer writes leads here.
#[derive(Debug, thiserror::Error)]
pub enum PaperError {
    /// The embedded font can't be read, or the page has no size.
    #[error("the paper could not be begun")]
    Begin,
    /// The PDF library refused what was drawn.
    #[error("the paper could not be written: {0}")]
    Write(String),
}

/// Draws a paper. The same paper gives the same bytes.
pub fn draw(paper: &Paper) -> Result<Vec<u8>, PaperError> {
    let regular = Font::new(REGULAR.into(), 0).ok_or(PaperError::Begin)?;
    let bold = Font::new(BOLD.into(), 0).ok_or(PaperError::Begin)?;
    let mut document = Document::new();
    document.set_metadata(metadata(paper));
    let size = PageSettings::from_wh(f32::from(PAGE.0), f32::from(PAGE.1)).ok_or(PaperError::Begin)?;
    let mut page = document.start_page_with(size);
    on_page(&mut Pen { surface: page.surface(), regular, bold }, paper);
    page.finish();
    document.finish().map_err(|error| PaperError::Write(format!("{error:?}")))
}

fn on_page(pen: &mut Pen<'_>, paper: &Paper) {
    let below = header(pen, paper);
    let below = sold(pen, paper, below);
    transfer(pen, paper, below);
    if let Some(stamp) = paper.stamp {
        stamped(pen, stamp);
    }
}

fn metadata(paper: &Paper) -> Metadata {
    let at = paper.written_at;
    let small = |number: u32| u8::try_from(number).unwrap_or(0);
    let written = DateTime::new(u16::try_from(at.year()).unwrap_or(0))
        .month(small(at.month()))
        .day(small(at.day()))
        .hour(small(at.hour()))
        .minute(small(at.minute()))
        .second(small(at.second()))
        .utc_offset_hour(0)
        .utc_offset_minute(0);
    let stamp = paper.stamp.map_or("", Stamp::word);
    Metadata::new()
        .title(format!("{} {}", paper.title, paper.number))
        .authors(paper.seller.iter().take(1).cloned().collect())
        .creator("IGNY8".to_owned())
        .language("en".to_owned())
        .creation_date(written)
        .document_id(format!("{} {stamp}", paper.number))
}

struct Pen<'a> {
    surface: Surface<'a>,
    regular: Font,
    bold: Font,
}

#[derive(Clone, Copy)]
enum Weight {
    Regular,
    Bold,
}

impl Pen<'_> {
    fn ink(&mut self, (red, green, blue): (u8, u8, u8)) {
        self.surface.set_fill(Some(Fill { paint: rgb::Color::new(red, green, blue).into(), ..Fill::default() }));
    }

    /// Writes a text whose baseline begins at a place, counted from the page's upper left corner.
    fn write(&mut self, (x, y): (i16, i16), (weight, size): (Weight, i16), ink: (u8, u8, u8), text: &str) {
        let font = match weight {
            Weight::Regular => self.regular.clone(),
            Weight::Bold => self.bold.clone(),
        };
        self.ink(ink);
        self.surface.draw_text(Point::from_xy(f32::from(x), f32::from(y)), font, f32::from(size), text, false, TextDirection::Auto);
    }

    fn text(&mut self, at: (i16, i16), text: &str) {
        self.write(at, (Weight::Regular, NORMAL), INK, text);
    }

    fn label(&mut self, at: (i16, i16), text: &str) {
        self.write(at, (Weight::Regular, SMALL), PALE, text);
    }

    fn strong(&mut self, at: (i16, i16), text: &str) {
        self.write(at, (Weight::Bold, NORMAL), INK, text);
    }

    /// A filled rectangle.
    fn fill(&mut self, (x, y): (i16, i16), (width, height): (i16, i16), ink: (u8, u8, u8)) {
        let rect = Rect::from_xywh(f32::from(x), f32::from(y), f32::from(width), f32::from(height));
        let mut path = PathBuilder::new();
        rect.into_iter().for_each(|rect| path.push_rect(rect));
        self.ink(ink);
        path.finish().iter().for_each(|path| self.surface.draw_path(path));
    }
}

/// Title, both sides, dates and numbers. Gives where it ends.
fn header(pen: &mut Pen<'_>, paper: &Paper) -> i16 {
    pen.write((LEFT, 80), (Weight::Bold, LARGE), INK, paper.title);
    pen.label((LEFT, 116), "From");
    pen.label((MIDDLE, 116), "To");
    let mut lowest = 132;
    for (x, lines) in [(LEFT, &paper.seller), (MIDDLE, &paper.buyer)] {
        let mut y = 132;
        for (place, line) in lines.iter().enumerate() {
            if place == 0 {
                pen.strong((x, y), line)
            } else {
                pen.text((x, y), line)
            }
            y += LINE;
        }
        lowest = lowest.max(y);
    }
    rows(pen, lowest + LINE, &paper.facts)
}

/// Labels with their values, a line each. Gives where they end.
fn rows(pen: &mut Pen<'_>, mut y: i16, rows: &[(String, String)]) -> i16 {
    for (label, value) in rows {
        pen.label((LEFT, y), label);
        pen.text((VALUES, y), value);
        y += LINE;
    }
    y
}

/// What is sold, and the sums. Gives where it ends.
fn sold(pen: &mut Pen<'_>, paper: &Paper, top: i16) -> i16 {
    let mut y = top + 2 * LINE;
    pen.label((LEFT, y), "Description");
    pen.label((AMOUNTS, y), "Amount");
    y += 6;
    pen.fill((LEFT, y), (RIGHT - LEFT, 1), PALE);
    y += 18;
    let (text, amount) = &paper.line;
    pen.text((LEFT, y), text);
    pen.text((AMOUNTS, y), amount);
    y += 10;
    pen.fill((LEFT, y), (RIGHT - LEFT, 1), PALE);
    y += 18;
    for (label, amount) in &paper.sums {
        pen.label((MIDDLE, y), label);
        pen.strong((AMOUNTS, y), amount);
        y += LINE;
    }
    y
}

/// How to pay.
fn transfer(pen: &mut Pen<'_>, paper: &Paper, top: i16) {
    if paper.bank.is_empty() {
        return;
    }
    let y = top + 2 * LINE;
    pen.strong((LEFT, y), "Please transfer to");
    rows(pen, y + LINE + 4, &paper.bank);
    if let Some(code) = &paper.qr {
        scanned(pen, (MIDDLE + 60, y + 8), code);
    }
}

/// A QR code with its upper left corner at a place. What is too long for one is left away: the details stand beside it.
fn scanned(pen: &mut Pen<'_>, (left, top): (i16, i16), text: &str) {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else { return };
    let width = code.width().max(1);
    for (place, module) in code.to_colors().into_iter().enumerate() {
        let at = |count: usize| i16::try_from(count).unwrap_or(0) * MODULE;
        if module == Color::Dark {
            pen.fill((left + at(place % width), top + at(place / width)), (MODULE, MODULE), (0, 0, 0));
        }
    }
}

/// A framed word at the head of the paper; level, so that it stays one word for who copies or searches it.
fn stamped(pen: &mut Pen<'_>, stamp: Stamp) {
    let ink = match stamp {
        Stamp::Paid => GREEN,
        Stamp::Void => RED,
    };
    let (left, top, width, height, edge) = (STAMP.0, STAMP.1, 124, 46, 3);
    pen.fill((left, top), (width, edge), ink);
    pen.fill((left, top + height - edge), (width, edge), ink);
    pen.fill((left, top), (edge, height), ink);
    pen.fill((left + width - edge, top), (edge, height), ink);
    pen.write((left + 16, top + 35), (Weight::Bold, 34), ink, stamp.word());
}
