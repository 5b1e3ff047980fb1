//! The people of an account, as those who manage them see them: listed, changed, deleted softly, taken back, purged.
//! Who may do what to whom is for the room `accounts` to say.

pub mod model;
pub mod store;
