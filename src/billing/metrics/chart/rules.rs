//! Draws figures as SVG. No I/O.

use crate::billing::metrics::model::{Metrics, Month};
use rust_decimal::{Decimal, RoundingStrategy};
use std::fmt::Write as _;

/// The picture's size …
const WIDTH: i64 = 960;
const HEIGHT: i64 = 420;
/// … and where its axes stand.
const LEFT: i64 = 84;
const RIGHT: i64 = 936;
const TOP: i64 = 88;
const BOTTOM: i64 = 364;
/// Lines across, at the most, besides the lowest.
const STEPS_MAX: i64 = 6;
/// Months that have their name below the axis, at the most.
const NAMES_MAX: usize = 12;

const PAPER: &str = "#ffffff";
const INK: &str = "#22303c";
const PALE: &str = "#5f6b76";
const GRID: &str = "#e3e7eb";
const AXIS: &str = "#9aa5b1";
const BARS: &str = "#a9cbe8";
const LINE: &str = "#1b4f8a";
const FONT: &str = "font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\"";

/// The picture.
pub fn draw(metrics: &Metrics) -> String {
    let scale = Scale::of(&metrics.months);
    let mut svg = String::new();
    head(&mut svg, metrics);
    grid(&mut svg, &scale, &metrics.currency);
    bars(&mut svg, &scale, metrics);
    line(&mut svg, &scale, metrics);
    names(&mut svg, &scale, &metrics.months);
    svg.push_str("</svg>\n");
    svg
}

/// Where amounts and months stand.
struct Scale {
    lowest: Decimal,
    highest: Decimal,
    /// From one line across to the next.
    step: Decimal,
    months: i64,
}

impl Scale {
    fn of(months: &[Month]) -> Self {
        let amounts = || months.iter().flat_map(|month| [month.mrr, month.cash_in]);
        let (least, most) =
            (amounts().min().unwrap_or_default().min(Decimal::ZERO), amounts().max().unwrap_or_default().max(Decimal::ZERO));
        let step = round_step(most - least);
        let to_step = |amount: Decimal, way| (amount / step).round_dp_with_strategy(0, way) * step;
        let lowest = to_step(least, RoundingStrategy::AwayFromZero);
        let highest = to_step(most, RoundingStrategy::AwayFromZero).max(lowest + step);
        Scale { lowest, highest, step, months: i64::try_from(months.len()).unwrap_or(1).max(1) }
    }

    /// How far down an amount stands.
    fn y(&self, amount: Decimal) -> Decimal {
        let height = Decimal::from(BOTTOM - TOP);
        let share = (amount - self.lowest) / (self.highest - self.lowest);
        (Decimal::from(BOTTOM) - share * height).round_dp(1).normalize()
    }

    /// What a month has of the picture's width.
    fn room(&self) -> Decimal {
        Decimal::from(RIGHT - LEFT) / Decimal::from(self.months)
    }

    /// The middle of a month.
    fn x(&self, place: usize) -> Decimal {
        let place = Decimal::from(i64::try_from(place).unwrap_or(0));
        (Decimal::from(LEFT) + self.room() * place + self.room() / Decimal::TWO).round_dp(1).normalize()
    }
}

/// 1, 2 or 5 and noughts: so much that not too many lines stand across.
fn round_step(span: Decimal) -> Decimal {
    let wanted = span / Decimal::from(STEPS_MAX - 1);
    let mut power = Decimal::ONE;
    while power * Decimal::TEN <= wanted {
        power *= Decimal::TEN;
    }
    let steps = [1, 2, 5, 10].map(|times| power * Decimal::from(times));
    steps.into_iter().find(|step| *step >= wanted).unwrap_or(power * Decimal::TEN)
}

fn head(svg: &mut String, metrics: &Metrics) {
    let (from, to) = (metrics.months.first(), metrics.months.last());
    let title = match (from, to) {
        (Some(from), Some(to)) if from.month != to.month => format!("Revenue, {} to {}", from.month, to.month),
        (_, Some(month)) => format!("Revenue, {}", month.month),
        (_, None) => "Revenue".to_owned(),
    };
    let told = metrics.months.last().map_or_else(String::new, |month| {
        format!("MRR {} {currency} from {} paying account(s)", grouped(month.mrr, 2), month.paying_accounts, currency = metrics.currency)
    });
    put(
        svg,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" {FONT}>\n\
             <title>{}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"{PAPER}\"/>\n",
            escaped(&title)
        ),
    );
    words(svg, (LEFT.into(), 30.into()), ("start", 18, INK), &title);
    words(svg, (LEFT.into(), 51.into()), ("start", 13, PALE), &told);
    let (bar, dash) = (RIGHT - 178, RIGHT - 74);
    put(svg, format_args!("<rect x=\"{bar}\" y=\"19\" width=\"14\" height=\"12\" fill=\"{BARS}\"/>\n"));
    words(svg, ((bar + 20).into(), 30.into()), ("start", 13, INK), "Cash in");
    put(svg, format_args!("<line x1=\"{dash}\" y1=\"25\" x2=\"{}\" y2=\"25\" stroke=\"{LINE}\" stroke-width=\"3\"/>\n", dash + 24));
    words(svg, ((dash + 32).into(), 30.into()), ("start", 13, INK), "MRR");
}

fn grid(svg: &mut String, scale: &Scale, currency: &str) {
    let mut amount = scale.lowest;
    while amount <= scale.highest {
        let (y, ink) = (scale.y(amount), if amount.is_zero() { AXIS } else { GRID });
        put(svg, format_args!("<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{RIGHT}\" y2=\"{y}\" stroke=\"{ink}\"/>\n"));
        words(svg, ((LEFT - 10).into(), y + Decimal::from(4)), ("end", 12, PALE), &grouped(amount, 0));
        amount += scale.step;
    }
    words(svg, ((LEFT - 10).into(), (TOP - 16).into()), ("end", 12, PALE), currency);
}

fn bars(svg: &mut String, scale: &Scale, metrics: &Metrics) {
    let width = (scale.room() * Decimal::new(56, 2)).min(Decimal::from(64)).round_dp(1).normalize();
    for (place, month) in metrics.months.iter().enumerate() {
        let (zero, end) = (scale.y(Decimal::ZERO), scale.y(month.cash_in));
        let (x, y, height) = (scale.x(place) - width / Decimal::TWO, zero.min(end), (zero - end).abs());
        let told = format!("{}: cash in {} {}", month.month, grouped(month.cash_in, 2), metrics.currency);
        put(
            svg,
            format_args!(
                "<rect x=\"{}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{BARS}\"><title>{}</title></rect>\n",
                x.normalize(),
                escaped(&told)
            ),
        );
    }
}

fn line(svg: &mut String, scale: &Scale, metrics: &Metrics) {
    let at = |(place, month): (usize, &Month)| (scale.x(place), scale.y(month.mrr));
    let points = metrics.months.iter().enumerate().map(at).map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
    put(
        svg,
        format_args!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{LINE}\" stroke-width=\"3\" stroke-linejoin=\"round\"/>\n"),
    );
    let radius = if metrics.months.len() > 24 { 2 } else { 4 };
    for (place, month) in metrics.months.iter().enumerate() {
        let (x, y) = at((place, month));
        let told = format!("{}: MRR {} {}", month.month, grouped(month.mrr, 2), metrics.currency);
        put(
            svg,
            format_args!(
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{PAPER}\" stroke=\"{LINE}\" stroke-width=\"2\"><title>{}</title></circle>\n",
                escaped(&told)
            ),
        );
    }
}

/// The months' names; of many months only some, and always the last.
fn names(svg: &mut String, scale: &Scale, months: &[Month]) {
    let every = months.len().div_ceil(NAMES_MAX).max(1);
    for (place, month) in months.iter().enumerate().filter(|(place, _)| (months.len() - 1 - place).is_multiple_of(every)) {
        words(svg, (scale.x(place), (BOTTOM + 24).into()), ("middle", 12, PALE), &month.month);
    }
}

fn words(svg: &mut String, (x, y): (Decimal, Decimal), (anchor, size, ink): (&str, u8, &str), text: &str) {
    put(
        svg,
        format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{ink}\">{}</text>\n", escaped(text)),
    );
}

fn put(svg: &mut String, piece: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = svg.write_fmt(piece);
}

/// With thousands separators and so many places.
fn grouped(amount: Decimal, places: u32) -> String {
    let mut exact = amount.round_dp(places);
    exact.rescale(places);
    let text = exact.abs().to_string();
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let digits = whole.chars().enumerate();
    let grouped = digits.fold(String::new(), |mut told, (place, digit)| {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
        told
    });
    let sign = if exact.is_sign_negative() && !exact.is_zero() { "-" } else { "" };
    fraction.map_or_else(|| format!("{sign}{grouped}"), |fraction| format!("{sign}{grouped}.{fraction}"))
}

/// A text inside an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{billing::metrics::model::Overdue, clock::Timestamp};

    fn metrics(currency: &str, amounts: &[(&str, &str)]) -> Metrics {
        let month = |(place, (mrr, cash_in)): (usize, &(&str, &str))| Month {
            month: format!("2026-{:02}", place + 1),
            mrr: mrr.parse().unwrap(),
            paying_accounts: 1,
            arpa: None,
            new_accounts: 0,
            returned_accounts: 0,
            lost_accounts: 0,
            cash_in: cash_in.parse().unwrap(),
            trials: Default::default(),
        };
        let months = amounts.iter().enumerate().map(month).collect();
        Metrics { currency: currency.to_owned(), as_of: Timestamp::UNIX_EPOCH, months, overdue: Overdue::default() }
    }

    #[test]
    fn the_lines_across_stand_at_round_amounts_and_are_few() {
        let step = |span: &str| round_step(span.parse().unwrap()).to_string();

        assert_eq!(
            [step("0"), step("4"), step("11"), step("445"), step("500"), step("501"), step("123456.78")],
            ["1", "1", "5", "100", "100", "200", "50000"]
        );
    }

    #[test]
    fn amounts_stand_between_the_axes_and_what_was_taken_back_below_zero() {
        let scale = Scale::of(&metrics("USD", &[("89.00", "178.00"), ("0", "-89.00")]).months);

        assert_eq!((scale.lowest, scale.highest, scale.step), ("-100".parse().unwrap(), "200".parse().unwrap(), "100".parse().unwrap()));
        assert_eq!((scale.y(scale.highest), scale.y(scale.lowest)), (TOP.into(), BOTTOM.into()));
        assert!(scale.y("-89".parse().unwrap()) > scale.y(Decimal::ZERO));
        assert!(scale.x(0) > LEFT.into() && scale.x(1) < RIGHT.into());
    }

    #[test]
    fn each_month_is_told_and_nothing_breaks_out_of_its_text() {
        let svg = draw(&metrics("<&>", &[("1234.50", "0"), ("89", "89")]));

        for told in
            ["<title>2026-01: MRR 1,234.50 &lt;&amp;&gt;</title>", "<title>2026-02: cash in 89.00 &lt;&amp;&gt;</title>", ">2026-02</text>"]
        {
            assert!(svg.contains(told), "{told} in {svg}");
        }
        assert!(!svg.contains("<&>") && !svg.contains("style"));
        assert!(draw(&metrics("USD", &[])).contains("Revenue"), "no month at all");
    }
}
