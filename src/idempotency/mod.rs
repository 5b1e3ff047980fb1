//! First answers. A request that moves money and may be sent again is recognised by its key; its first answer was written
//! in the transaction of its effect.

pub mod model;
pub mod service;
pub mod store;
