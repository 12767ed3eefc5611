//! Who may ask, and what is done to those who may not, or who ask for nonsense.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::WATCH;
use super::client::{Served, raw, with_runs};
use crate::support::{Folder, Numbers, python};

const TOKEN: &str = "a-token-of-a-test-5678";

#[test]
fn an_address_that_others_can_reach_needs_a_token() {
    let mut numbers = Numbers::local("exposed");
    numbers.feed(1);
    let runs = Folder::new("runs");
    let refused = |arguments: &[&str], token: &str| {
        let mut call = with_runs(numbers.call(arguments), &runs);
        if !token.is_empty() {
            call = call.env("ALLUVIUM_HTTP_TOKEN", token);
        }
        let done = call.run();
        assert_eq!(done.code, Some(2), "{}{}", done.out, done.err);
        done.err
    };
    assert!(refused(&["--http", "0.0.0.0:0"], "").contains("give a token in ALLUVIUM_HTTP_TOKEN"));
    assert!(refused(&["--http", "[::]:0"], "").contains("give a token in ALLUVIUM_HTTP_TOKEN"));
    let short = refused(&["--http", "127.0.0.1:0"], "tooshort");
    assert!(short.contains("shorter than 16 characters") && !short.contains("tooshort"), "{short}");
    let missing = runs.text("no-such-file");
    assert!(refused(&["--http", "127.0.0.1:0", "--http-token-file", &missing], "").contains(&missing));
    assert!(
        refused(&["--http", "127.0.0.1:0", "--http-cert", &missing, "--http-key", &missing], "").contains(&missing)
    );
    // Nothing was touched.
    assert!(!std::path::Path::new(&numbers.place.url("lake")).exists());
}

#[test]
fn without_the_token_nothing_is_told() {
    let mut numbers = Numbers::local("token");
    numbers.feed(1);
    let served = Served::start(&numbers, &WATCH, Some(TOKEN));
    served.command(&numbers, &["await", &numbers.spec]).ok();
    for path in ["/api/status", "/api/epochs", "/api/events", "/api/report", "/api/nothing", "/metrics"] {
        for line in [
            "",
            "authorization: Bearer a-token-of-a-test-5679\r\n",
            "authorization: Basic YTpi\r\n",
            "authorization: Bearer\r\n",
        ] {
            let answer = served.ask("GET", path, line, "");
            assert_eq!(answer.status, 401, "{path} {line}");
            assert!(answer.head.to_ascii_lowercase().contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    for path in ["/api/stop", "/api/pause", "/api/stop?now=true"] {
        assert_eq!(served.ask("POST", path, "", "").status, 401, "{path}");
    }
    let bearer = format!("authorization: Bearer {TOKEN}\r\n");
    let status = served.ask("GET", "/api/status", &bearer, "").json();
    assert_eq!(status["epochs"]["completed"], 1);
    // The page asks for the token itself; health is nobody's secret.
    for path in ["/", "/healthz", "/readyz"] {
        assert_eq!(served.get(path).status, 200, "{path}");
    }
    // Neither files nor answers have it.
    let record = std::fs::read_to_string(served.record()).unwrap();
    for text in [&served.ask("GET", "/metrics", &bearer, "").body, &status.to_string(), &record] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    served.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn on_loopback_reading_is_free_and_steering_is_not() {
    let mut numbers = Numbers::local("loopback");
    numbers.feed(1);
    let served = Served::start(&numbers, &WATCH, None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    assert_eq!(served.get("/api/status").status, 200);
    let refused = served.ask("POST", "/api/stop", "", "");
    assert!(refused.status == 403 && refused.body.contains("needs a token"), "{refused:?}");
    // A page of another site that has pointed its name here.
    let rebound = "GET /api/status HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(&served.address, rebound.as_bytes()).unwrap().status, 421);
    let headers = served.get("/").head.to_ascii_lowercase();
    for line in
        ["content-security-policy: default-src 'self'", "x-content-type-options: nosniff", "x-frame-options: deny"]
    {
        assert!(headers.contains(line), "{line} in {headers}");
    }
    served.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn https_is_spoken_with_a_certificate() {
    let mut numbers = Numbers::local("https");
    numbers.feed(1);
    let folder = Folder::new("tls");
    python(&["tests/monitor/tls.py", "make", &folder.text("")]);
    let (certificate, key) = (folder.text("certificate.pem"), folder.text("key.pem"));
    let arguments = [&WATCH[..], &["--http-cert", &certificate, "--http-key", &key]].concat();
    let served = Served::start(&numbers, &arguments, Some(TOKEN));
    let url = format!("https://{}/api/status", served.address);
    let get = |token: &str| {
        let answer = python(&["tests/monitor/tls.py", "get", &url, &folder.text("authority.pem"), token]);
        serde_json::from_slice::<(u16, String)>(&answer).unwrap()
    };
    assert_eq!(get(TOKEN), (200, "TLSv1.3".to_owned()));
    assert_eq!(get("another-token-of-a-test").0, 401);
    // Nothing is told to whoever does not encrypt.
    assert!(raw(&served.address, b"GET /api/status HTTP/1.1\r\nhost: localhost\r\n\r\n").is_none());
    served.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn requests_are_bounded() {
    let mut numbers = Numbers::local("bounded");
    numbers.feed(1);
    let served = Served::start(&numbers, &WATCH, Some(TOKEN));
    let bearer = format!("authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n");
    let large = format!("{{\"epochRows\": {}}}", " ".repeat(100_000));
    assert_eq!(served.ask("POST", "/api/control", &bearer, &large).status, 413);
    let head = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(100_000));
    assert!(raw(&served.address, head.as_bytes()).is_none_or(|a| (400..500).contains(&a.status)));
    let answers = (0..2_000).map(|_| served.get("/healthz").status);
    assert!(answers.into_iter().any(|status| status == 429), "2,000 requests at once were all answered");
    served.command(&numbers, &["status", &numbers.spec]).ok();
    served.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn nonsense_is_refused_and_harms_nothing() {
    let mut numbers = Numbers::local("nonsense");
    numbers.feed(1);
    let mut served = Served::start(&numbers, &WATCH, None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let paths = [
        "/api/status",
        "/api/tap",
        "/api/rejects",
        "/api/control",
        "/api/graph",
        "/metrics",
        "/",
        "/api/../etc/passwd",
    ];
    let keys = ["stage", "rows", "rejects", "limit", "now", ""];
    let values = [
        "-1",
        "99999999999999999999",
        "%00",
        "%ff%fe",
        "'; DROP TABLE x",
        "true",
        "numbers",
        "..%2f..",
        "\u{1F600}",
        "",
    ];
    for _ in 0..600 {
        let method = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "GET / HTTP/1.1\r\nGET"]
            [random.random_range(0..8)];
        let query: Vec<String> = (0..random.random_range(0..4))
            .map(|_| format!("{}={}", keys[random.random_range(0..6)], values[random.random_range(0..10)]))
            .collect();
        let path = paths[random.random_range(0..8)];
        // A tap that asks for a stage waits for rows.
        if path == "/api/tap" && query.iter().any(|q| q == "stage=numbers") {
            continue;
        }
        let mut request =
            format!("{method} {path}?{} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", query.join("&"))
                .into_bytes();
        // Some are damaged on their way.
        if random.random_bool(0.3) {
            let at = random.random_range(0..request.len());
            request[at] = (random.next_u32() % 256) as u8;
        }
        if let Some(answer) = raw(&served.address, &request) {
            assert!(answer.status < 500, "{answer:?} to {}", String::from_utf8_lossy(&request));
        }
    }
    assert!(served.running.is_running());
    assert_eq!(served.command(&numbers, &["status", &numbers.spec]).run().code, Some(0));
    served.command(&numbers, &["stop", &numbers.spec]).ok();
    let done = served.running.end();
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert!(!done.err.contains("panicked"), "{}", done.err);
}
