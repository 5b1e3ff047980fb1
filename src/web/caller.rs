//! Who is calling, as handlers take it. The extractor's type is the permission: a handler that takes [`Owner`] is for
//! owners. All of them read what the pipeline left; on a route that stands behind no door they answer 500.

use super::{
    identity::not_enrolled,
    pipeline::{ClientAddress, RequestId, RequestTime},
    problem::Problem,
};
use crate::{
    accounts::model::Account,
    audit::model::Origin as AuditOrigin,
    auth::model::Role,
    clock::Timestamp,
    credits::holds::model::Reach,
    gate::{
        model::{Person, Principal, SiteCaller},
        rules::check_scope,
    },
    ids::UserId,
    sites::keys::model::KeyScope,
};
use axum::{extract::FromRequestParts, http::request::Parts};
use std::sync::Arc;

/// The instant of the request: one request, one instant.
#[derive(Debug, Clone, Copy)]
pub struct Now(pub Timestamp);

impl<S: Send + Sync> FromRequestParts<S> for Now {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        note::<RequestTime>(parts).map(|time| Now(time.0))
    }
}

/// Where a request comes from, for the audit log.
#[derive(Debug, Clone)]
pub struct Source(pub AuditOrigin);

impl<S: Send + Sync> FromRequestParts<S> for Source {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let request_id = note::<RequestId>(parts)?.0;
        let client_address = note::<ClientAddress>(parts)?.0.to_string();
        let actor = parts.extensions.get::<Arc<Principal>>().map_or_else(|| "anonymous".to_owned(), |principal| principal.actor());
        Ok(Source(AuditOrigin { actor, request_id: Some(request_id), client_address: Some(client_address) }))
    }
}

/// Anybody who is known: a person or a site.
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Principal>);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        note::<Arc<Principal>>(parts).map(Caller)
    }
}

impl Caller {
    /// The account he acts in.
    pub fn account(&self) -> Result<&Account, Problem> {
        self.0.account().ok_or_else(|| Problem::from(crate::gate::rules::Refusal::NoAccount))
    }

    /// How ledger and audit name him.
    pub fn actor(&self) -> String {
        self.0.actor()
    }

    fn person(&self) -> Result<&Person, Problem> {
        match &*self.0 {
            Principal::Person(person) => Ok(person),
            Principal::Site(_) => Err(Problem::forbidden("site_key_not_allowed", "A site key can't be used here; sign in.")),
        }
    }
}

/// A person with a token, whatever his account.
#[derive(Debug, Clone)]
pub struct SignedIn(pub Person);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, state).await?.person().cloned().map(SignedIn)
    }
}

/// A person in his account.
#[derive(Debug, Clone)]
pub struct Member {
    /// The account he acts in, as it stands now.
    pub account: Account,
    /// His number.
    pub user: UserId,
    /// His present role.
    pub role: Role,
    /// He with all that is known of him.
    pub person: Person,
}

fn member(caller: &Caller, needed: Role) -> Result<Member, Problem> {
    let person = caller.person()?;
    let account = caller.account()?.clone();
    if !person.user.role.includes(needed) {
        return Err(Problem::forbidden("role_required", format!("This needs the {needed} role; ask an owner of the account.")));
    }
    Ok(Member { account, user: person.user.id, role: person.user.role, person: person.clone() })
}

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident needs $role:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Member);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
                member(&Caller::from_request_parts(parts, state).await?, Role::$role).map($name)
            }
        }
    )+};
}

members! {
    /// Anybody of the account.
    Viewer needs Viewer;
    /// Who may create and edit content.
    Editor needs Editor;
    /// Who manages the account's content and sees its billing.
    Admin needs Admin;
    /// Who controls the account.
    Owner needs Owner;
}

/// Anybody of an account, or a site whose key may read.
#[derive(Debug, Clone)]
pub enum Reader {
    /// A person.
    Member(Box<Member>),
    /// A site.
    Site(Box<SiteCaller>),
}

impl Reader {
    /// The account that he reads of, as it stands now.
    pub fn account(&self) -> &Account {
        match self {
            Reader::Member(member) => &member.account,
            Reader::Site(site) => &site.account,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match &*caller.0 {
            Principal::Site(site) => {
                check_scope(site, KeyScope::Read)?;
                Ok(Reader::Site(site.clone()))
            }
            Principal::Person(_) => Ok(Reader::Member(Box::new(member(&caller, Role::Viewer)?))),
        }
    }
}

/// Who may spend the account's credits: an editor, automation, or a site by its key.
#[derive(Debug, Clone)]
pub struct Spender {
    /// The account that pays.
    pub account: Account,
    /// How the ledger names him.
    pub actor: String,
    /// Which holds he may settle.
    pub reach: Reach,
}

impl<S: Send + Sync> FromRequestParts<S> for Spender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        spender(&Caller::from_request_parts(parts, state).await?)
    }
}

pub(super) fn spender(caller: &Caller) -> Result<Spender, Problem> {
    let reach = match &*caller.0 {
        Principal::Site(site) => {
            check_scope(site, KeyScope::Credits)?;
            Reach::Own
        }
        Principal::Person(_) => {
            member(caller, Role::Editor)?;
            Reach::Account
        }
    };
    Ok(Spender { account: caller.account()?.clone(), actor: caller.actor(), reach })
}

/// Who administers billing: a developer, or admin or owner of a system account. Never a tenant's own admin or owner.
#[derive(Debug, Clone)]
pub struct Operator(pub Person);

impl<S: Send + Sync> FromRequestParts<S> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.person()? {
            person if person.must_enroll => Err(not_enrolled()),
            person if person.is_billing_admin() => Ok(Operator(person.clone())),
            _ => Err(Problem::forbidden("billing_admin_required", "Only the platform's billing admins may do this.")),
        }
    }
}

/// Platform staff with the developer role.
#[derive(Debug, Clone)]
pub struct Developer(pub Person);

impl<S: Send + Sync> FromRequestParts<S> for Developer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.person()? {
            person if person.must_enroll => Err(not_enrolled()),
            person if person.user.role == Role::Developer => Ok(Developer(person.clone())),
            _ => Err(Problem::forbidden("developer_required", "Only the platform's developers may do this.")),
        }
    }
}

/// A site whose key may report events.
#[derive(Debug, Clone)]
pub struct Reporter(pub SiteCaller);

impl<S: Send + Sync> FromRequestParts<S> for Reporter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let SiteKey(site) = SiteKey::from_request_parts(parts, state).await?;
        check_scope(&site, KeyScope::Events)?;
        Ok(Reporter(site))
    }
}

/// A site by its key, whatever that opens.
#[derive(Debug, Clone)]
pub struct SiteKey(pub SiteCaller);

impl<S: Send + Sync> FromRequestParts<S> for SiteKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match &*Caller::from_request_parts(parts, state).await?.0 {
            Principal::Site(site) => Ok(SiteKey(SiteCaller::clone(site))),
            Principal::Person(_) => Err(Problem::forbidden("site_key_required", "This route is for site keys; send one in X-API-Key.")),
        }
    }
}

fn note<T: Clone + Send + Sync + 'static>(parts: &Parts) -> Result<T, Problem> {
    parts.extensions.get::<T>().cloned().ok_or_else(|| Problem::internal("route stands behind no door"))
}
