//! Where traces go, and how many: OpenTelemetry's own names for it.

use super::reader::Reader;
use hyper::Uri;

/// Where a collector takes spans below its base, over HTTP.
const SPANS_PATH: &str = "/v1/traces";
/// What may be said instead.
const EXPECTED: &str = "a URL such as http://127.0.0.1:4318; TLS is not understood, so let a collector stand near";

/// How requests are traced.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Where spans are sent.
    pub spans_url: Uri,
    /// Who we are among those who send there.
    pub service: String,
    /// How many of the traces that begin here are told, from 0 to 1. One that began elsewhere was decided about there.
    pub ratio: f64,
}

impl Tracing {
    /// Nothing, where no collector is named.
    pub(super) fn read<F: Fn(&str) -> Option<String>>(reader: &mut Reader<F>) -> Option<Self> {
        // These are wrong also while no collector is named.
        let (service, ratio) = (reader.text("OTEL_SERVICE_NAME"), reader.ranged("OTEL_TRACES_SAMPLER_ARG", 0.0, 1.0));
        let spans_url = reader.optional_as("OTEL_EXPORTER_OTLP_ENDPOINT", EXPECTED, spans_url)?;
        Some(Tracing { spans_url, service, ratio })
    }
}

fn spans_url(base: &str) -> Option<Uri> {
    let url = format!("{}{SPANS_PATH}", base.trim_end_matches('/')).parse::<Uri>().ok()?;
    let host = url.authority().map(|authority| authority.as_str());
    // A password would be sent in clear, and a query is no base.
    let is_plain = host.is_some_and(|host| !host.contains('@')) && url.host().is_some_and(|host| !host.is_empty()) && url.query().is_none();
    (url.scheme_str() == Some("http") && is_plain && !base.contains('#')).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Tracing>, Vec<String>> {
        let mut reader = Reader::of(|name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()));
        let tracing = Tracing::read(&mut reader);
        if reader.errors.is_empty() { Ok(tracing) } else { Err(reader.errors) }
    }

    #[test]
    fn without_a_collector_nothing_is_traced_and_with_one_all_is() {
        let unset = read(&[("OTEL_SERVICE_NAME", "billing")]).unwrap();
        let set = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/")]).unwrap().unwrap();

        assert_eq!(unset, None);
        assert_eq!(set, Tracing { spans_url: Uri::from_static("http://collector:4318/v1/traces"), service: "igny8".into(), ratio: 1.0 });
    }

    #[test]
    fn what_can_not_be_a_collector_or_a_share_is_named() {
        let endpoints =
            ["collector:4318", "https://collector", "http://", "http://u:p@collector", "http://collector?x=1", "http://collector#x"];
        for (name, wrong) in endpoints
            .map(|wrong| ("OTEL_EXPORTER_OTLP_ENDPOINT", wrong))
            .into_iter()
            .chain(["2", "-0.1", "NaN", "all"].map(|wrong| ("OTEL_TRACES_SAMPLER_ARG", wrong)))
        {
            let errors = read(&[(name, wrong)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(name), "{wrong}: {errors:?}");
        }
    }
}
