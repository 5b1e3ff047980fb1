//! Addresses and roles.

use super::*;

#[test]
fn five_spellings_are_one_address() {
    for text in ["ana@example.com", "ANA@example.com", " ana@Example.COM ", "ａna@example.com", "Ana@EXAMPLE.com\n"] {
        assert_eq!(Email::parse(text).unwrap().as_str(), "ana@example.com", "{text:?}");
    }
    for text in
        ["", "ana", "@example.com", "ana@", "ana@host", "a na@example.com", "ana@exam ple.com", "ana@-x.com", "a@b@c..d", ".a@example.com"]
    {
        assert!(Email::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn roles_are_ordered_as_the_requirements_say() {
    assert!(Role::Owner.includes(Role::Admin) && !Role::Admin.includes(Role::Owner));
    assert!(Role::Developer.includes(Role::Owner));
    assert!(Role::SystemBot.includes(Role::Editor) && !Role::SystemBot.includes(Role::Admin));
    assert!(!Role::Developer.includes(Role::SystemBot));
}
