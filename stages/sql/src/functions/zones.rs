//! Names of time zones, and offsets.

/// Minutes east of UTC for a zone name, an offset such as `+02:00`, `-0700` or `+02`, or `GMT+2`.
///
/// Names that mean different offsets in different places are refused, except those that mail and web have used for
/// North America since RFC 822 (`EST` … `PDT`) and `BST`, British Summer Time.
pub(super) fn offset(name: &str) -> Result<i32, String> {
    let upper = name.to_ascii_uppercase();
    let hours = |h: i32| Ok(h * 60);
    match upper.as_str() {
        "UTC" | "GMT" | "UT" | "Z" | "WET" => hours(0),
        "BST" | "WEST" | "CET" => hours(1),
        "CEST" | "EET" => hours(2),
        "EEST" | "MSK" => hours(3),
        "JST" | "KST" => hours(9),
        "AWST" => hours(8),
        "ACST" => Ok(9 * 60 + 30),
        "ACDT" => Ok(10 * 60 + 30),
        "AEST" => hours(10),
        "AEDT" => hours(11),
        "NZST" => hours(12),
        "NZDT" => hours(13),
        "EDT" => hours(-4),
        "EST" | "CDT" => hours(-5),
        "CST" | "MDT" => hours(-6),
        "MST" | "PDT" => hours(-7),
        "PST" | "AKDT" => hours(-8),
        "AKST" => hours(-9),
        "HST" => hours(-10),
        "IST" | "AST" | "GST" | "SST" | "PKT" | "ADT" => {
            Err(format!("the time zone `{name}` means different offsets in different places"))
        }
        other => {
            let numeric = other.strip_prefix("GMT").or_else(|| other.strip_prefix("UTC")).unwrap_or(other);
            numeric_offset(numeric).ok_or_else(|| format!("`{name}` is not a known time zone"))
        }
    }
}

fn numeric_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((h, m)) => (h, m),
        None if digits.len() == 4 => digits.split_at(2),
        None => (digits, "0"),
    };
    let valid = |t: &str| (1..=2).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
    if !valid(hours) || !valid(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours <= 18 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

#[cfg(test)]
mod tests {
    use super::offset;

    #[test]
    fn names_and_numbers() {
        for (name, minutes) in [
            ("PDT", -420),
            ("pst", -480),
            ("EST", -300),
            ("UTC", 0),
            ("GMT", 0),
            ("BST", 60),
            ("+02:00", 120),
            ("-0700", -420),
            ("+05:30", 330),
            ("GMT+2", 120),
            ("+5", 300),
        ] {
            assert_eq!(offset(name), Ok(minutes), "{name}");
        }
    }

    #[test]
    fn unknown_and_ambiguous_names_are_refused() {
        for name in ["XYZ", "IST", "", "+", "+99:00", "+1:77", "PDTX", "+1a"] {
            assert!(offset(name).is_err(), "{name}");
        }
    }
}
