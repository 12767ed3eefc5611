//! Secrets never appear in output: values that may be secret are learnt once and masked wherever text leaves the process.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

static KNOWN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Shorter values would mask harmless text.
const SHORTEST: usize = 4;

/// Whether a variable or option of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let said = [
        "secret",
        "password",
        "passwd",
        "access_key",
        "account_key",
        "private_key",
        "api_key",
        "apikey",
        "credential",
        "signature",
    ];
    // A `tokenizer` or `max_tokens` is no secret.
    let token = name.ends_with("token") || name.split(|c: char| !c.is_alphanumeric()).any(|word| word == "token");
    token || said.iter().any(|word| name.contains(word))
}

/// Remembers the value of an option or variable if its name says that it is secret, and any password inside a URL.
pub fn learn(name: &str, value: &str) {
    if is_secret_name(name) {
        remember(value);
    }
    learn_urls(value);
}

/// Remembers user, password and signatures of a URL such as `https://user:password@host/path?signature=…`.
pub fn learn_url(text: &str) {
    learn_urls(text);
}

/// The same for every URL in a text.
pub(crate) fn learn_urls(text: &str) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        rest = after;
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(after.len());
        let url = &after[..end];
        // Azure writes `abfss://container@account…`: no secret, and the name of a folder.
        let scheme = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let azure = ["abfs", "abfss", "wasb", "wasbs"].contains(&scheme);
        let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
        if let Some((user_info, _)) = authority.rsplit_once('@').filter(|_| !azure) {
            if let Some((_, password)) = user_info.split_once(':') {
                remember(password);
            }
            remember(user_info);
        }
        let query = url.split_once('?').map(|(_, q)| q.split('#').next().unwrap_or_default()).unwrap_or_default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            if is_secret_name(name) || name == "sig" || name == "key" {
                remember(value);
            }
        }
    }
}

/// For a text whose structure is not known: remembers what follows a secret's name on the same line.
pub(crate) fn learn_lines(text: &str) {
    for line in text.lines() {
        for (at, _) in line.match_indices([':', '=']) {
            let name = line[..at].trim_end_matches(['"', '\'']);
            let name = name.rsplit(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
            if is_secret_name(name) {
                let value = line[at + 1..].trim();
                remember(value);
                let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
                let bare = quote.map_or(value, |q| value.trim_start_matches(q));
                remember(bare);
                let end = |c: char| quote.map_or(c.is_whitespace() || matches!(c, ',' | '}'), |q| c == q);
                remember(bare.split(end).next().unwrap_or_default());
            }
        }
    }
}

fn remember(value: &str) {
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    // Libraries show a value as it is, decoded from a URL, as a URL's text, or quoted as in Rust.
    let decoded =
        url::form_urlencoded::parse(value.replace('+', "%2B").replace('&', "%26").replace('=', "%3D").as_bytes())
            .next()
            .map(|(name, _)| name.into_owned());
    let encoded = url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
    let quoted = format!("{value:?}");
    let quoted = quoted.trim_matches('"').to_owned();
    for form in [Some(value.to_owned()), decoded, Some(encoded), Some(quoted)].into_iter().flatten() {
        if form.len() >= SHORTEST {
            known.insert(form);
        }
    }
}

/// The text with every known secret replaced by `***`.
pub fn redact(text: &str) -> String {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    // Longest first, so that a secret that contains another one disappears whole.
    let mut secrets: Vec<&String> = known.iter().filter(|s| text.contains(s.as_str())).collect();
    secrets.sort_by_key(|s| std::cmp::Reverse(s.len()));
    secrets.iter().fold(text.to_owned(), |t, s| t.replace(s.as_str(), "***"))
}

/// A URL without user, password and query: safe in tables and messages.
pub fn public_url(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.has_host() => {
            // Both fail only for URLs that cannot have them.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.set_query(None);
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_longest_first() {
        learn("AWS_SECRET_ACCESS_KEY", "hunter22");
        learn("db", "postgres://joe:hunter22-long@db/x");
        assert_eq!(redact("a hunter22-long b hunter22 c"), "a *** b *** c");
        learn("region", "eu-west-1");
        assert_eq!(redact("in eu-west-1"), "in eu-west-1");
    }

    #[test]
    fn names_of_secrets() {
        for name in
            ["API_TOKEN", "sessionToken", "aws_secret_access_key", "AWS_ACCESS_KEY_ID", "DB_PASSWORD", "github_token_2"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["tokenizer", "max_tokens", "AWS_REGION", "text", "key", "LAKE"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn passwords_in_urls_in_any_form() {
        learn_urls("in https://bob:p%40ss%2Bword@host/x and https://h/y?X-Amz-Signature=abcdef12&part=7");
        assert_eq!(redact("p%40ss%2Bword or p@ss+word"), "*** or ***");
        assert_eq!(redact("signed abcdef12"), "signed ***");
        learn_urls("abfss://container@account/x");
        assert_eq!(redact("container"), "container");
    }

    #[test]
    fn lines_of_a_text_that_cannot_be_parsed() {
        learn_lines("storage: { aws_secret_access_key: 'lines one', x: 1 }\naws_session_token: \"lines-two");
        assert_eq!(redact("lines one, lines-two"), "***, ***");
    }

    #[test]
    fn public_urls_have_no_user() {
        assert_eq!(public_url("https://joe:pw@h/x?sig=1"), "https://h/x");
        assert_eq!(public_url("./data"), "./data");
    }
}
