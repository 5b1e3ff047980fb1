//! Who fails to log in waits longer and longer, and a restart forgets nothing.
//!
//! Two counters judge a stranger: that of his client address, whomever he tries, and that of his address together with the
//! e-mail address he tries. Both are where the failures came from, never the e-mail address alone: so nobody can keep an
//! owner out by failing elsewhere in his name. Where somebody has logged in before, only the second counter judges him, and
//! mildly: others who fail at the same office or provider don't keep him out for more than a minute.
//!
//! An attempt is counted before its password is compared and taken back when it was right. While it has to wait it is neither
//! compared nor counted. The answer is the same for known and unknown e-mail addresses, for nobody asks whether one exists.

pub mod model;
pub mod rules;
pub mod service;
pub mod store;
