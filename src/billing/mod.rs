//! Money in. An invoice says what is owed; a confirmed payment is the only thing that starts or renews paid time.

pub mod routes;
