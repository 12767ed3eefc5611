//! Secrets never appear in output: values that may be secret are learnt once and masked wherever text leaves the process.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

static KNOWN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Shorter values would mask harmless text.
const SHORTEST: usize = 4;

/// Whether a variable or option of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["secret", "password", "passwd", "token", "access_key", "account_key", "api_key", "credential", "private"]
        .iter()
        .any(|word| name.contains(word))
}

/// Remembers the value of an option or variable if its name says that it is secret, and any password inside a URL.
pub fn learn(name: &str, value: &str) {
    if is_secret_name(name) {
        remember(value);
    }
    learn_url(value);
}

/// Remembers user and password of a URL such as `https://user:password@host`.
pub fn learn_url(text: &str) {
    let Some((_, rest)) = text.split_once("://") else { return };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((user_info, _)) = authority.rsplit_once('@') {
        if let Some((_, password)) = user_info.split_once(':') {
            remember(password);
        }
        remember(user_info);
    }
}

fn remember(value: &str) {
    if value.len() >= SHORTEST {
        KNOWN.write().unwrap_or_else(PoisonError::into_inner).insert(value.to_owned());
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
    fn public_urls_have_no_user() {
        assert_eq!(public_url("https://joe:pw@h/x?sig=1"), "https://h/x");
        assert_eq!(public_url("./data"), "./data");
    }
}
