//! HTTP of the events: plugins report them, people and plugins see them.

use super::{
    model::{BATCH_EVENTS_MAX, EVENT_TYPE_CHARS_MAX, Event, EventFilter, EventType, ExternalId, NewEvent, Payload, Report},
    service, store,
};
use crate::{
    ids::SiteId,
    sites::{self, model::Sight, routes::Onlooker},
    state::AppState,
    web::{
        caller::{Now, Reporter},
        envelope::{Answer, Envelope},
        extract::{Body, Query, Text},
        field::Instant,
        page::{CursorRequest, Page},
        problem::{ErrorBody, Outcome, Problem},
    },
};
use axum::{
    extract::State,
    http::{HeaderName, HeaderValue},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Seeing what was reported, whatever the account's state.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_events))
}

/// What a plugin calls by its site's key.
pub fn bridge() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(report_events))
}

crate::request_body! { Refused:
    /// What happened: one event, or several in `events`.
    pub struct EventsBody {
        /// What happened.
        event_type: Option<EventType>,
        /// Your own word for it: the same event sent again has the same one.
        external_id: Option<ExternalId>,
        /// What you tell of it, at most 16 KiB.
        payload: Option<Payload>,
        /// Instead of these three: up to 100 events.
        events: Option<Vec<NewEvent>>,
    }
}

/// What is kept of a report: the one event, or all of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Reported {
    /// Of one event.
    One(Event),
    /// Of several, in the order in which they were sent.
    Several {
        /// They.
        events: Vec<Event>,
        /// How many of them were new.
        created: u64,
    },
}

/// How a report was sent, which is how it is answered.
enum Sent {
    One(NewEvent),
    Several(Vec<NewEvent>),
}

impl EventsBody {
    fn sent(self) -> Outcome<Sent> {
        let mut problem = Problem::invalid();
        match self {
            EventsBody { events: Some(events), event_type: None, external_id: None, payload: None } => {
                if events.is_empty() || events.len() > BATCH_EVENTS_MAX {
                    problem.field("events", format!("Send 1 to {BATCH_EVENTS_MAX} events."));
                }
                problem.or(Sent::Several(events))
            }
            EventsBody { events: Some(_), .. } => Err(problem.with_field("events", "Send either one event or events, not both.")),
            EventsBody { events: None, event_type: Some(event_type), external_id: Some(external_id), payload } => {
                Ok(Sent::One(NewEvent { event_type, external_id, payload: payload.unwrap_or_default() }))
            }
            EventsBody { events: None, event_type, external_id, .. } => {
                let missing = [("event_type", event_type.is_none()), ("external_id", external_id.is_none())];
                let missing = missing.into_iter().filter(|(_, is_missing)| *is_missing);
                Err(missing.fold(problem, |problem, (name, _)| problem.with_field(name, "This field is required.")))
            }
        }
    }
}

/// Reports what happened on the site. Each event is kept once by its type and external_id; all of a report is kept, or nothing.
#[utoipa::path(post, path = "/integration/events", tag = "integration", request_body = EventsBody, security(("site_key" = [])), responses(
    (status = 200, body = Envelope<Reported>, description = "All of it was known already"),
    (status = 201, body = Envelope<Reported>, description = "Some of it was new"),
    (status = 400, body = ErrorBody, description = "invalid_input, malformed_json"),
    (status = 401, body = ErrorBody, description = "key_unknown, key_revoked, authentication_required …"),
    (status = 402, body = ErrorBody, description = "no_plan, plan_inactive"),
    (status = 403, body = ErrorBody, description = "key_scope_missing, site_inactive, account_suspended, account_cancelled, site_key_required"),
    (status = 404, body = ErrorBody, description = "not_found: the site was deleted at this moment"),
    (status = 409, body = ErrorBody, description = "event_conflict: reported before with another payload; site_url_changed"),
    (status = 413, body = ErrorBody, description = "body_too_large"),
    (status = 415, body = ErrorBody, description = "unsupported_media_type"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn report_events(
    State(state): State<AppState>,
    Reporter(caller): Reporter,
    Now(now): Now,
    Body(body): Body<EventsBody>,
) -> Outcome<Answer> {
    let sent = body.sent()?;
    let events = match &sent {
        Sent::One(event) => std::slice::from_ref(event),
        Sent::Several(events) => events,
    };
    let report = service::report(&state.pool, caller.account.id, caller.site, events, now).await?;
    Ok(answer(&sent, report))
}

fn answer(sent: &Sent, Report { mut events, created }: Report) -> Answer {
    let reported = match sent {
        Sent::One(_) if events.len() == 1 => Reported::One(events.remove(0)),
        Sent::One(_) | Sent::Several(_) => Reported::Several { events, created },
    };
    if created > 0 {
        return Answer::created(reported);
    }
    Answer::ok(reported).header(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"))
}

crate::request_body! { Ignored:
    /// Which events to show.
    pub struct EventQuery {
        /// Only of this site.
        #[param(required = false)]
        site: Option<i64>,
        /// Only of this type.
        #[param(required = false, value_type = Option<String>)]
        #[schema(value_type = Option<String>)]
        event_type: Option<Text<EVENT_TYPE_CHARS_MAX>>,
        /// Reported at or after this instant.
        #[param(required = false, value_type = Option<String>, format = DateTime)]
        #[schema(value_type = Option<String>, format = DateTime)]
        from: Option<Instant>,
        /// Reported before this instant.
        #[param(required = false, value_type = Option<String>, format = DateTime)]
        #[schema(value_type = Option<String>, format = DateTime)]
        to: Option<Instant>,
    }
}

/// The events of the sites that the caller sees, newest first; kept for 90 days.
#[utoipa::path(get, path = "/integration/events", tag = "integration", params(CursorRequest, EventQuery), security(("bearer" = []), ("site_key" = [])), responses(
    (status = 200, body = Page<Event>, description = "Newest first"),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 401, body = ErrorBody, description = "authentication_required, token_expired, key_unknown, key_revoked …"),
    (status = 402, body = ErrorBody, description = "plan_inactive (site keys)"),
    (status = 403, body = ErrorBody, description = "no_account, key_scope_missing, site_inactive, account_suspended, account_cancelled"),
    (status = 404, body = ErrorBody, description = "not_found: the site asked for"),
    (status = 429, body = ErrorBody, description = "throttled"),
))]
async fn list_events(
    State(state): State<AppState>,
    onlooker: Onlooker,
    page: CursorRequest,
    Query(query): Query<EventQuery>,
) -> Outcome<Answer> {
    let (account, pool) = (onlooker.account, &state.pool);
    let sight = match query.site {
        Some(site) => {
            let site = sites::store::find_site(pool, account, onlooker.sight, SiteId(site)).await?.ok_or_else(Problem::not_found)?;
            Sight::Only(site.id)
        }
        None => onlooker.sight,
    };
    let filter =
        EventFilter { event_type: query.event_type.map(|text| text.0), from: query.from.map(|from| from.0), to: query.to.map(|to| to.0) };
    let events = match page.newer_than() {
        Some(newer_than) => store::list_newer(pool, account, (sight, &filter), newer_than, page.limit()).await?,
        None => store::list_older(pool, account, (sight, &filter), page.older_than(), page.limit()).await?,
    };
    let count = if page.count { Some(store::count_events(pool, account, (sight, &filter)).await?) } else { None };
    Ok(Answer::list(page.page(events, |event| event.id.0, count)))
}
