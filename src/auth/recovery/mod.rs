//! Getting in again, and proving an address: by tokens that come by mail, work once and end soon.
//!
//! `notices` stands on the floor of the services: mails that tell somebody what happened to his sign-ins.

pub mod model;
pub mod notices;
pub mod routes;
pub mod service;
pub mod store;
