//! HTTP of an account's people.

use super::{
    model::{Belongs, DeletedPerson, Manager, PersonChange},
    rules::{Recruit, seated},
    service,
};
use crate::{
    audit::model::Origin,
    auth::{
        members::{model::TeamMember, store},
        model::{Email, Line, Role},
        passwords::NewPassword,
    },
    ids::UserId,
    state::AppState,
    web::{
        caller::{Admin, Member, Now, Source, Viewer},
        envelope::{Answer, Envelope},
        extract::{Body, Path},
        page::{Page, PageRequest},
        problem::{ErrorBody, Outcome},
    },
};
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Seeing them, whatever the account's state.
pub fn reading() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list_people))
}

/// Managing them, only while the account may act.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create_person))
        .routes(routes!(change_person, delete_person))
        .routes(routes!(restore_person))
        .routes(routes!(make_owner))
}

/// Who manages people, as services take it.
pub(in crate::accounts) fn manager<'a>(member: &Member, origin: &'a Origin) -> Manager<'a> {
    let belongs = if member.person.home == Some(member.account.id) { Belongs::Here } else { Belongs::Elsewhere };
    Manager { account: member.account.id, user: member.user, role: member.role, belongs, origin }
}

/// How many seats the account's plan has.
fn seats(member: &Member) -> Option<i32> {
    member.account.plan.as_ref().map(|plan| plan.max_users)
}

crate::request_body! { Ignored:
    /// A user to be made.
    pub struct NewPerson {
        /// The address, in any spelling.
        email: Email,
        /// What he may do: below your own role.
        role: Role,
        /// His first password; unset: he gets a mail to choose one.
        password: Option<NewPassword>,
        /// A name for himself; unset: what stands before the `@`.
        username: Option<Line<150>>,
        /// Given name.
        first_name: Option<Line<150>>,
        /// Family name.
        last_name: Option<Line<150>>,
    }
}

crate::request_body! { Ignored:
    /// What to change of somebody; what is missing stays.
    pub struct ChangePerson {
        /// Another role: below your own, or owner from an owner.
        role: Option<Role>,
        /// False: he is signed out and let in no more.
        is_active: Option<bool>,
        /// Given name; may be empty.
        first_name: Option<Line<150>>,
        /// Family name; may be empty.
        last_name: Option<Line<150>>,
    }
}

/// The account's people, oldest first, and whom of them the plan has no seat for.
#[utoipa::path(get, path = "/auth/users", tag = "people", params(PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<TeamMember>),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, no_account …"),
))]
async fn list_people(State(state): State<AppState>, Admin(member): Admin, request: PageRequest) -> Outcome<Answer> {
    let (people, count) = store::list_members(&state.pool, member.account.id, request.page_size, request.offset()).await?;
    let people = people.into_iter().map(|person| seated(person, seats(&member))).collect();
    Ok(Answer::list(request.page(people, count)))
}

/// Makes a user without inviting him.
#[utoipa::path(post, path = "/auth/users", tag = "people", request_body = NewPerson, security(("bearer" = [])), responses(
    (status = 201, body = Envelope<TeamMember>),
    (status = 400, body = ErrorBody, description = "invalid_input: also when the address is taken"),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 422, body = ErrorBody, description = "seat_limit_reached, with limit and used"),
))]
async fn create_person(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Body(body): Body<NewPerson>,
) -> Outcome<Answer> {
    let recruit = body.recruit();
    let made = service::recruit(state.desk(), &manager(&member, &origin), &recruit, now).await?;
    Ok(Answer::created(seated(made, seats(&member))))
}

impl NewPerson {
    fn recruit(self) -> Recruit {
        let text = |line: Option<Line<150>>| line.map(|line| line.0).unwrap_or_default();
        Recruit {
            email: self.email,
            role: self.role,
            password: self.password,
            username: self.username.and_then(Line::filled),
            first_name: text(self.first_name),
            last_name: text(self.last_name),
        }
    }
}

/// Changes somebody's role or names, or suspends him.
#[utoipa::path(patch, path = "/auth/users/{id}", tag = "people", params(("id" = UserId, Path)), request_body = ChangePerson, security(("bearer" = [])), responses(
    (status = 200, body = Envelope<TeamMember>),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 409, body = ErrorBody, description = "last_owner"),
))]
async fn change_person(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<UserId>,
    Body(body): Body<ChangePerson>,
) -> Outcome<Answer> {
    let text = |line: Option<Line<150>>| line.map(|line| line.0);
    let change =
        PersonChange { role: body.role, is_active: body.is_active, first_name: text(body.first_name), last_name: text(body.last_name) };
    let changed = service::change(&state.pool, &manager(&member, &origin), id, &change, now).await?;
    Ok(Answer::ok(seated(changed, seats(&member))))
}

/// Deletes somebody, or lets you leave. He can be restored until the time told.
#[utoipa::path(delete, path = "/auth/users/{id}", tag = "people", params(("id" = UserId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<DeletedPerson>),
    (status = 403, body = ErrorBody, description = "role_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 409, body = ErrorBody, description = "last_owner"),
))]
async fn delete_person(
    State(state): State<AppState>,
    Viewer(member): Viewer,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<UserId>,
) -> Outcome<Answer> {
    let deleted = service::delete(&state.pool, &manager(&member, &origin), id, now).await?;
    Ok(Answer::ok(deleted).message("The user is deleted; he can be restored until then."))
}

/// Brings a deleted user back as he was.
#[utoipa::path(post, path = "/auth/users/{id}/restore", tag = "people", params(("id" = UserId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<TeamMember>),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found: unknown, not deleted, or too late"),
    (status = 409, body = ErrorBody, description = "email_taken"),
    (status = 422, body = ErrorBody, description = "seat_limit_reached, with limit and used"),
))]
async fn restore_person(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<UserId>,
) -> Outcome<Answer> {
    let restored = service::restore(&state.pool, &manager(&member, &origin), id, now).await?;
    Ok(Answer::ok(seated(restored, seats(&member))))
}

/// Hands the account over: the other becomes owner, and you an admin.
#[utoipa::path(post, path = "/auth/users/{id}/make-owner", tag = "people", params(("id" = UserId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<TeamMember>),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
))]
async fn make_owner(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<UserId>,
) -> Outcome<Answer> {
    let owner = service::make_owner(&state.pool, &manager(&member, &origin), id, now).await?;
    Ok(Answer::ok(seated(owner, seats(&member))))
}
