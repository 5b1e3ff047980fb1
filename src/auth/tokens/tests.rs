//! What is asked of a token before a word of it is believed.

use super::*;
use crate::{
    auth::model::Role,
    ids::{AccountId, UserId},
};
use chrono::TimeDelta;
use serde_json::{Value, json};

const SECRET: &str = "a secret of thirty-two bytes and more";
const FORMER: &str = "another secret of thirty-two bytes and more";

fn tokens(current: &str, previous: &[&str]) -> Tokens {
    Tokens::new(&TokenSecrets { current: current.into(), previous: previous.iter().map(|&key| key.into()).collect() })
}

fn instant() -> Timestamp {
    Timestamp::from_timestamp(1_772_323_200, 999_999_000).unwrap()
}

fn draft(token_type: TokenType) -> Draft {
    Draft {
        holder: Holder { user: UserId(7), account: Some(AccountId(29)), role: Role::Owner },
        session: SessionId(Uuid::from_u128(5)),
        token_type,
        token_id: Uuid::from_u128(6),
        expires_at: instant() + TimeDelta::hours(1),
    }
}

fn claims() -> Value {
    json!({
        "user_id": 7, "account_id": 29, "role": "owner", "token_type": "access", "iat": 1_772_323_200, "exp": 1_772_326_800,
        "jti": Uuid::from_u128(6), "iss": "igny8", "aud": "igny8-api", "sid": Uuid::from_u128(5),
    })
}

/// A token with that header and those claims as text, signed by HMAC-SHA-256 with the secret.
fn forge(header: &str, claims: &str, secret: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

#[test]
fn a_token_works_until_its_last_second_and_not_in_it() {
    let tokens = tokens(SECRET, &[]);
    let token = tokens.sign(&draft(TokenType::Access), instant()).unwrap();
    assert!(token.starts_with(OWN_HEADER), "{token}");
    let expires_at = Timestamp::from_timestamp(1_772_323_200 + 3_600, 0).unwrap();

    let read = |now| tokens.read(&token, TokenType::Access, now).map(|claims| claims.user_id);

    assert_eq!(read(instant()), Ok(UserId(7)));
    assert_eq!(read(expires_at - TimeDelta::microseconds(1)), Ok(UserId(7)));
    assert_eq!(read(expires_at), Err(TokenRefused::Expired));
    assert_eq!(read(expires_at + TimeDelta::seconds(1)), Err(TokenRefused::Expired));
}

#[test]
fn a_previous_secret_is_accepted_and_a_forgotten_one_is_not() {
    let old = tokens(FORMER, &[]).sign(&draft(TokenType::Access), instant()).unwrap();

    let read = |tokens: Tokens| tokens.read(&old, TokenType::Access, instant()).is_ok();

    assert!(read(tokens(SECRET, &[FORMER])));
    assert!(!read(tokens(SECRET, &[])));
}

#[test]
fn one_kind_is_never_taken_for_the_other() {
    let tokens = tokens(SECRET, &[]);
    let refresh = tokens.sign(&draft(TokenType::Refresh), instant()).unwrap();

    assert_eq!(tokens.read(&refresh, TokenType::Access, instant()), Err(TokenRefused::Invalid));
    assert!(tokens.read(&refresh, TokenType::Refresh, instant()).is_ok());
}

#[test]
fn only_the_exact_header_is_read() {
    let tokens = tokens(SECRET, &[]);
    let read = |header: &str| tokens.read(&forge(header, &claims().to_string(), SECRET), TokenType::Access, instant()).is_ok();

    assert!(read(HEADER) && read(r#"{"typ":"JWT","alg":"HS256"}"#));
    for header in [
        r#"{"alg":"none","typ":"JWT"}"#,
        r#"{"alg":"None","typ":"JWT"}"#,
        r#"{"alg":"HS384","typ":"JWT"}"#,
        r#"{"alg":"HS512","typ":"JWT"}"#,
        r#"{"alg":"RS256","typ":"JWT"}"#,
        r#"{"alg":"ES256","typ":"JWT"}"#,
        r#"{"alg":"hs256","typ":"JWT"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"jwt"}"#,
        r#"{"alg":"HS256","typ":"JWT","kid":"../../dev/null"}"#,
        r#"{"alg":"HS256","typ":"JWT","crit":["exp"]}"#,
        r#"{"alg":"HS256","typ":"JWT","jku":"https://evil.example"}"#,
        r#"{"alg":"HS256","typ":"JWT","cty":"JWT"}"#,
        r#"{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"alg":"HS256","typ":"JWT","zip":"DEF"}"#,
        r#"{"alg":"HS256","alg":"none","typ":"JWT"}"#,
        r#"{"alg":"nOnE","typ":"JWT"}"#,
        r#"{"alg":"PS256","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","typ":"JWT"}"#,
        r#"{"alg":["HS256"],"typ":"JWT"}"#,
        r#"{"alg":"HS256\u0000","typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":"JWT","kid":"' union select 'key"}"#,
        r#"{"alg":"HS256","typ":"JWT","kid":null}"#,
        r#"{"alg":"HS256","typ":"JWT","crit":[]}"#,
        r#"{"alg":"HS256","typ":"JWT","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","typ":"JWT","x5u":"https://evil.example/key.pem"}"#,
        r#"{"alg":"HS256","typ":"JWT","x5c":["MIIB"]}"#,
        r#"{"alg":"HS256","typ":"JWT","enc":"A128GCM"}"#,
        r#"{"alg":"HS256","typ":"JWT","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","typ":"JWT"}{"alg":"none"}"#,
        "\u{feff}{\"alg\":\"HS256\",\"typ\":\"JWT\"}",
        r#"["HS256","JWT","x"]"#,
        "",
        "null",
    ] {
        assert!(!read(header), "{header}");
    }
}

#[test]
fn claims_that_are_missing_doubled_foreign_or_too_many_are_refused() {
    let tokens = tokens(SECRET, &[]);
    let read = |claims: &str| tokens.read(&forge(HEADER, claims, SECRET), TokenType::Access, instant());
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims.to_string()
    };

    assert!(read(&claims().to_string()).is_ok());
    for (name, value) in [
        ("iss", json!("igny9")),
        ("iss", json!(["igny8"])),
        ("aud", json!("other")),
        ("aud", json!(["igny8-api", "other"])),
        ("token_type", json!("refresh")),
        ("token_type", json!(null)),
        ("role", json!("root")),
        ("user_id", json!("7")),
        ("exp", json!("1772326800")),
        ("exp", json!(1.8e9)),
        ("exp", json!(null)),
        ("exp", json!(true)),
        ("exp", json!([1_772_326_800])),
        ("exp", json!(u64::MAX)),
        ("iat", json!("now")),
        ("jti", json!("")),
        ("account_id", json!("29")),
        ("aud", json!(["igny8-api"])),
        ("aud", json!(null)),
        ("iss", json!("IGNY8")),
        ("iss", json!("igny8 ")),
        ("token_type", json!("Access")),
        ("token_type", json!(["access", "refresh"])),
        ("sid", json!("x")),
        ("nbf", json!(0)),
        ("admin", json!(true)),
    ] {
        assert_eq!(read(&changed(name, value.clone())), Err(TokenRefused::Invalid), "{name} {value}");
    }
    for name in ["user_id", "role", "token_type", "iat", "exp", "jti", "iss", "aud", "sid"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(read(&claims.to_string()), Err(TokenRefused::Invalid), "without {name}");
    }
    // Doubled, also in an escaped spelling and with the same value: which of the two counts must never be a question.
    for double in [
        r#""user_id":1,"#,
        r#""\u0075ser_id":1,"#,
        r#""exp":9999999999,"#,
        r#""token_type":"access","#,
        r#""sid":"00000000-0000-0000-0000-000000000000","#,
        r#""aud":"igny8-api","#,
        r#""iss":"igny8","#,
    ] {
        let doubled = claims().to_string().replacen('{', &format!("{{{double}"), 1);
        assert_eq!(read(&doubled), Err(TokenRefused::Invalid), "{doubled}");
    }
}

/// The same bytes in the other alphabet of base 64, with at least one letter that differs.
fn standard_alphabet(text: &str) -> String {
    let other = text.replace('-', "+").replace('_', "/");
    if other == text { format!("+{}", &text[1..]) } else { other }
}

#[test]
fn a_signature_of_another_algorithm_is_none_whatever_the_header_says() {
    let tokens = tokens(SECRET, &[]);
    let key = EncodingKey::from_secret(SECRET.as_bytes());

    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        for header in [HEADER.to_owned(), format!(r#"{{"alg":"{algorithm:?}","typ":"JWT"}}"#)] {
            let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(claims().to_string()));
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
            assert_eq!(
                tokens.read(&format!("{message}.{signature}"), TokenType::Access, instant()),
                Err(TokenRefused::Invalid),
                "{header}"
            );
        }
    }
}

#[test]
fn a_token_that_expired_before_this_one_was_issued_or_never_began_is_expired() {
    let tokens = tokens(SECRET, &[]);
    let read = |exp: i64| {
        let mut claims = claims();
        claims["exp"] = json!(exp);
        tokens.read(&forge(HEADER, &claims.to_string(), SECRET), TokenType::Access, instant()).err()
    };

    assert_eq!(read(1_772_323_201), None);
    for exp in [1_772_323_200, 1_772_323_199, 0, -1, i64::MIN] {
        assert!(read(exp).is_some(), "{exp}");
    }
}

#[test]
fn bent_texts_are_refused() {
    let tokens = tokens(SECRET, &[]);
    let good = forge(HEADER, &claims().to_string(), SECRET);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let other_last = if signature.ends_with('A') { "B" } else { "A" };

    let read = |token: &str| tokens.read(token, TokenType::Access, instant()).is_ok();

    assert!(read(&good));
    for bent in [
        format!("{message}."),
        message.to_owned(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}="),
        format!("{good} "),
        format!("{good}A"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}.{}{other_last}", &signature[..signature.len() - 1]),
        format!("{header}..{signature}"),
        format!("{header}.{payload}\n.{signature}"),
        format!("{header}.{payload}+.{signature}"),
        format!("{header}.{payload}.{signature}\0"),
        format!("{header}.{payload}.{}", signature.to_uppercase()),
        format!("{header}.{payload}.{}", standard_alphabet(signature)),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
        format!("{header}.{payload}.{}", "A".repeat(43)),
        format!("{}.{payload}.{signature}", header.to_lowercase()),
        format!("{payload}.{header}.{signature}"),
        format!("{header}.{payload}.{signature}.{header}.{payload}"),
        format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
        format!("Bearer {good}"),
        "..".to_owned(),
        String::new(),
        forge(HEADER, &claims().to_string(), FORMER),
        forge(HEADER, &claims().to_string(), ""),
    ] {
        assert!(!read(&bent), "{bent}");
    }
    let huge = claims().to_string().replace("igny8-api", &"a".repeat(TOKEN_BYTES_MAX));
    assert!(!read(&forge(HEADER, &huge, SECRET)));
    // Signed and right in every word, and too long by its blanks alone: refused for its length, before anything is read.
    let padded = |blanks: usize| forge(HEADER, &claims().to_string().replacen('{', &format!("{{{}", " ".repeat(blanks)), 1), SECRET);
    assert!(read(&padded(1_000)) && padded(3_000).len() > TOKEN_BYTES_MAX && !read(&padded(3_000)));
    let deep = format!("{}{}", "[".repeat(1_500), "]".repeat(1_500));
    assert!(!read(&forge(HEADER, &deep, SECRET)) && !read(&forge(&deep, &claims().to_string(), SECRET)));
}
