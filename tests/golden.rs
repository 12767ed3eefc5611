//! Golden files: what the program said when a person last read it and found it good.

use crate::support::root;

/// Compares with a file; `UPDATE=1` writes the file instead.
pub(crate) fn compare(path: &str, found: &str) -> Result<(), String> {
    let path = root().join(path);
    if std::env::var("UPDATE").is_ok_and(|v| v == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
        return Ok(());
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if found == expected {
        return Ok(());
    }
    let same = expected.lines().zip(found.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    Err(format!(
        "{} is different from line {} on (UPDATE=1 rewrites it)\n  expected: {}\n  found:    {}\nthe whole text:\n{found}",
        path.display(),
        same + 1,
        line(&expected),
        line(found)
    ))
}

#[track_caller]
pub(crate) fn assert_golden(path: &str, found: &str) {
    if let Err(difference) = compare(path, found) {
        panic!("{difference}");
    }
}
