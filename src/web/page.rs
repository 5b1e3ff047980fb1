//! Lists, a page at a time. By number where the list is short, by cursor where it grows without end.

use super::problem::Problem;
use axum::{
    extract::{FromRequestParts, OriginalUri},
    http::request::Parts,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

/// Rows on a page when nothing is asked.
pub const PAGE_SIZE: i64 = 20;
/// Rows on a page at the most.
pub const PAGE_SIZE_MAX: i64 = 100;
/// Numbered pages end here; a longer list has a cursor.
const PAGE_MAX: i64 = 100_000;

/// One page, as it is sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// Always true.
    #[schema(example = true)]
    pub success: bool,
    /// How many rows there are in all; left out by cursor lists unless `count=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Absolute address of the next page.
    pub next: Option<String>,
    /// Absolute address of the page before.
    pub previous: Option<String>,
    /// The rows.
    pub results: Vec<T>,
}

/// Which numbered page was asked for: `page` from 1, `page_size` from 1 to 100.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageRequest {
    /// From 1.
    #[param(required = false, minimum = 1, example = 1)]
    pub page: i64,
    /// From 1 to 100.
    #[param(required = false, minimum = 1, maximum = 100, example = 20)]
    pub page_size: i64,
    #[param(ignore)]
    link: Link,
}

impl PageRequest {
    /// Rows before the page.
    pub fn offset(&self) -> i64 {
        (self.page - 1) * self.page_size
    }

    /// The page of a list of `count` rows.
    pub fn page<T>(&self, results: Vec<T>, count: i64) -> Page<T> {
        let link = |page: i64| self.link.with("page", &page.to_string());
        Page {
            success: true,
            count: Some(count),
            next: (self.page * self.page_size < count).then(|| link(self.page + 1)),
            previous: (self.page > 1).then(|| link(self.page - 1)),
            results,
        }
    }
}

/// Where a cursor list goes on: after or before a row's number, which is the list's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// From the newest row.
    Start,
    /// Rows older than this one.
    After(i64),
    /// Rows newer than this one.
    Before(i64),
}

/// Which page of a cursor list was asked for, newest row first.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CursorRequest {
    /// From `next` or `previous` of another page.
    #[param(required = false, value_type = String)]
    pub cursor: Cursor,
    /// From 1 to 100.
    #[param(required = false, minimum = 1, maximum = 100, example = 20)]
    pub page_size: i64,
    /// Whether to count all rows, which costs the more the longer the list.
    #[param(required = false)]
    pub count: bool,
    #[param(ignore)]
    link: Link,
}

impl CursorRequest {
    /// How many rows the query must fetch: one more than the page, to know whether there is another.
    pub fn limit(&self) -> i64 {
        self.page_size + 1
    }

    /// Upper bound (exclusive) for a query that walks from newer to older rows.
    pub fn older_than(&self) -> Option<i64> {
        match self.cursor {
            Cursor::After(key) => Some(key),
            Cursor::Start | Cursor::Before(_) => None,
        }
    }

    /// Lower bound (exclusive) for a query that walks from older to newer rows; set only when walking back.
    pub fn newer_than(&self) -> Option<i64> {
        match self.cursor {
            Cursor::Before(key) => Some(key),
            Cursor::Start | Cursor::After(_) => None,
        }
    }

    /// The page of the rows that the query gave: newest first, or oldest first when walking back.
    pub fn page<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> i64, count: Option<i64>) -> Page<T> {
        let wanted = usize::try_from(self.page_size).unwrap_or(usize::MAX);
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let back = matches!(self.cursor, Cursor::Before(_));
        if back {
            rows.reverse();
        }
        let (older, newer) = if back { (true, more) } else { (more, self.cursor != Cursor::Start) };
        let link =
            |word: &str, row: Option<&T>| row.map(|row| self.link.with("cursor", &URL_SAFE_NO_PAD.encode(format!("{word}{}", key(row)))));
        Page {
            success: true,
            count,
            next: older.then(|| link("a", rows.last())).flatten(),
            previous: newer.then(|| link("b", rows.first())).flatten(),
            results: rows,
        }
    }
}

fn parse_cursor(text: &str) -> Option<Cursor> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let number = |rest: &str| rest.parse::<i64>().ok().filter(|number| *number >= 0);
    match plain.split_at_checked(1)? {
        ("a", rest) => Some(Cursor::After(number(rest)?)),
        ("b", rest) => Some(Cursor::Before(number(rest)?)),
        _ => None,
    }
}

/// The request's own absolute address, with one parameter exchanged.
#[derive(Debug, Clone)]
struct Link {
    base: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Link {
    fn of(parts: &Parts, query: Vec<(String, String)>) -> Self {
        let base = parts.extensions.get::<super::pipeline::BaseUrl>().map_or_else(String::new, |base| base.0.clone());
        let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |original| &original.0);
        Link { base, path: uri.path().trim_end_matches('/').to_owned(), query }
    }

    fn with(&self, name: &str, value: &str) -> String {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(self.query.iter().filter(|(known, _)| known != name));
        pairs.append_pair(name, value);
        format!("{}{}/?{}", self.base, self.path, pairs.finish())
    }
}

fn pairs(parts: &Parts) -> Vec<(String, String)> {
    form_urlencoded::parse(parts.uri.query().unwrap_or("").as_bytes()).into_owned().collect()
}

fn number(pairs: &[(String, String)], name: &'static str, default: i64, max: i64, problem: &mut Problem) -> i64 {
    let Some((_, text)) = pairs.iter().find(|(known, _)| known == name) else { return default };
    match text.parse::<i64>() {
        Ok(number) if 1 <= number && number <= max => number,
        _ => {
            problem.field(name, format!("Give a whole number from 1 to {max}."));
            default
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = pairs(parts);
        let mut problem = Problem::invalid();
        let page = number(&pairs, "page", 1, PAGE_MAX, &mut problem);
        let page_size = number(&pairs, "page_size", PAGE_SIZE, PAGE_SIZE_MAX, &mut problem);
        problem.or(PageRequest { page, page_size, link: Link::of(parts, pairs) })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CursorRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = pairs(parts);
        let mut problem = Problem::invalid();
        let page_size = number(&pairs, "page_size", PAGE_SIZE, PAGE_SIZE_MAX, &mut problem);
        let cursor = match pairs.iter().find(|(name, _)| name == "cursor") {
            None => Cursor::Start,
            Some((_, text)) => parse_cursor(text).unwrap_or_else(|| {
                problem.field("cursor", "Take the cursor from `next` or `previous` of another page.");
                Cursor::Start
            }),
        };
        let count = pairs.iter().any(|(name, value)| name == "count" && value == "true");
        problem.or(CursorRequest { cursor, page_size, count, link: Link::of(parts, pairs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cursor: Cursor) -> CursorRequest {
        CursorRequest {
            cursor,
            page_size: 2,
            count: false,
            link: Link { base: "http://h".into(), path: "/p".into(), query: vec![("type".into(), "refund".into())] },
        }
    }

    fn cursor_of(link: &str) -> Cursor {
        parse_cursor(link.rsplit_once("cursor=").unwrap().1).unwrap()
    }

    #[test]
    fn cursors_lead_forth_and_back() {
        let first = request(Cursor::Start).page(vec![9, 8, 7], |row| *row, None);
        assert_eq!((first.results.as_slice(), first.previous.as_deref()), ([9, 8].as_slice(), None));
        let next = first.next.unwrap();
        assert!(next.starts_with("http://h/p/?type=refund&cursor="));
        assert_eq!(cursor_of(&next), Cursor::After(8));
        let second = request(Cursor::After(8)).page(vec![7, 6, 5], |row| *row, None);
        assert_eq!(cursor_of(&second.previous.unwrap()), Cursor::Before(7));
        // Walking back the query gives the oldest first.
        let back = request(Cursor::Before(7)).page(vec![8, 9], |row| *row, None);
        assert_eq!((back.results.as_slice(), back.previous.as_deref()), ([9, 8].as_slice(), None));
        assert_eq!(cursor_of(&back.next.unwrap()), Cursor::After(8));
    }

    #[test]
    fn a_forged_cursor_is_no_cursor() {
        for text in ["", "!!", "YTEyeA", &URL_SAFE_NO_PAD.encode("a-1"), &URL_SAFE_NO_PAD.encode("c1")] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}
