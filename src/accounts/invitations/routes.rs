//! HTTP of invitations; accepting one is the gate's, for it signs somebody in.

use super::{model::Invitation, service, store};
use crate::{
    accounts::people::routes::manager,
    auth::model::{Email, Role},
    ids::InvitationId,
    state::AppState,
    web::{
        caller::{Admin, Now, Source},
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
    OpenApiRouter::new().routes(routes!(list_invitations))
}

/// Inviting and taking back, only while the account may act.
pub fn managing() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(invite)).routes(routes!(revoke)).routes(routes!(resend))
}

crate::request_body! { Ignored:
    /// Whom to invite.
    pub struct NewInvitationBody {
        /// The address, in any spelling.
        email: Email,
        /// What he will be: below your own role.
        role: Role,
    }
}

/// Invitations that nobody has answered, oldest first.
#[utoipa::path(get, path = "/auth/invitations", tag = "people", params(PageRequest), security(("bearer" = [])), responses(
    (status = 200, body = Page<Invitation>),
    (status = 403, body = ErrorBody, description = "role_required, site_key_not_allowed, no_account …"),
))]
async fn list_invitations(State(state): State<AppState>, Admin(member): Admin, Now(now): Now, request: PageRequest) -> Outcome<Answer> {
    let rows = (request.page_size, request.offset());
    let (invitations, count) = store::list_invitations(&state.pool, member.account.id, rows, now).await?;
    Ok(Answer::list(request.page(invitations, count)))
}

/// Invites somebody by mail. An open invitation takes a seat.
#[utoipa::path(post, path = "/auth/invitations", tag = "people", request_body = NewInvitationBody, security(("bearer" = [])), responses(
    (status = 201, body = Envelope<Invitation>),
    (status = 400, body = ErrorBody, description = "invalid_input"),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 409, body = ErrorBody, description = "already_member, already_invited"),
    (status = 422, body = ErrorBody, description = "seat_limit_reached, with limit and used"),
))]
async fn invite(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Body(body): Body<NewInvitationBody>,
) -> Outcome<Answer> {
    let invitation = service::invite(state.desk(), &manager(&member, &origin), (&body.email, body.role), now).await?;
    Ok(Answer::created(invitation).message("The invitation is on its way."))
}

/// Takes an invitation back. Its seat is free.
#[utoipa::path(delete, path = "/auth/invitations/{id}", tag = "people", params(("id" = InvitationId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Invitation>),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
))]
async fn revoke(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<InvitationId>,
) -> Outcome<Answer> {
    let revoked = service::revoke(&state.pool, &manager(&member, &origin), id, now).await?;
    Ok(Answer::ok(revoked).message("The invitation is taken back."))
}

/// Sends an invitation again, for seven more days. The link sent before opens nothing any more.
#[utoipa::path(post, path = "/auth/invitations/{id}/resend", tag = "people", params(("id" = InvitationId, Path)), security(("bearer" = [])), responses(
    (status = 200, body = Envelope<Invitation>),
    (status = 403, body = ErrorBody, description = "role_required, role_not_allowed …"),
    (status = 404, body = ErrorBody, description = "not_found"),
    (status = 422, body = ErrorBody, description = "seat_limit_reached, with limit and used: it had ended"),
))]
async fn resend(
    State(state): State<AppState>,
    Admin(member): Admin,
    Source(origin): Source,
    Now(now): Now,
    Path(id): Path<InvitationId>,
) -> Outcome<Answer> {
    let invitation = service::resend(state.desk(), &manager(&member, &origin), id, now).await?;
    Ok(Answer::ok(invitation).message("The invitation is on its way."))
}
