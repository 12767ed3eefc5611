//! Each row once, whatever happens to the process, and to the table meanwhile.

use serde_json::json;

use super::{Case, append, create};

/// Killed at every point, and the source goes on before the next start.
fn killed_everywhere(workers: usize, then: usize) {
    for point in ["after-binding", "after-staging", "after-commit:copy", "after-commits", "after-complete"] {
        for epoch in [1, 3, 6] {
            let case = Case::new("killed", "", "");
            case.write(json!([create(0, 20), append(20, 10)]));
            case.kill_at(&format!("{point}@{epoch}"), workers);
            case.write(json!([append(30, 5), { "optimize": true }, append(40, 5), { "checkpoint": true }]));
            case.call(then).ok();
            case.assert_same(&format!("{point}@{epoch}"));
        }
    }
}

#[test]
fn killed_at_every_point_with_1_worker() {
    killed_everywhere(1, 1);
}

#[test]
fn killed_at_every_point_with_other_numbers_of_workers() {
    killed_everywhere(2, 3);
}

#[test]
fn changes_are_exact_after_a_kill() {
    for point in ["after-binding", "after-staging", "after-commit:copy", "after-complete"] {
        let case = Case::new("killed-changes", "changes: true, key: [id]", "mode: upsert, change_feed: true");
        case.write(json!([{ "append": super::rows(0, 20) }]));
        case.run();
        case.write(json!([
            { "update": { "word": "'x'" }, "where": "id > 15" },
            { "delete": "id < 3" },
            { "merge": [{ "id": 4, "word": "gone", "gone": true }, { "id": 99, "word": "new", "gone": false }], "on": "id" },
        ]));
        case.kill_at(&format!("{point}@4"), 2);
        case.write(json!([{ "update": { "size": "size + 1" } }, { "optimize": true }]));
        case.call(1).ok();
        case.assert_same(point);
    }
}

#[test]
fn the_log_may_be_cleaned_up_behind_us() {
    let case = Case::new("cleaned", "", "");
    case.write(json!([create(0, 5), append(5, 5), append(10, 5)]));
    case.run();
    case.write(json!([append(15, 5), { "optimize": true }]));
    case.run();
    // All but the newest entry, which is in the checkpoint.
    case.write(json!([{ "forget": 4 }, append(20, 5)]));
    case.run();
    case.assert_same("after the log was cleaned up");
}

#[test]
fn what_was_cleaned_up_before_it_was_read_is_told() {
    let case = Case::new("lost", "", "");
    case.write(json!([create(0, 5)]));
    case.run();
    case.write(json!([append(5, 5), append(10, 5), append(15, 5), { "forget": 3 }]));
    let error = case.refused(1);
    assert!(error.contains("versions 1 to 2 of the table cannot be read: the log has been cleaned up"), "{error}");
    // Nor is it overlooked when nothing but a checkpoint is left.
    case.write(json!([{ "forget": 4 }]));
    let error = case.refused(1);
    assert!(error.contains("versions 1 to 3 of the table cannot be read"), "{error}");

    let case = Case::new("vacuumed", "", "");
    case.write(json!([create(0, 5)]));
    case.run();
    case.write(json!([append(5, 6), append(12, 6), { "optimize": true }, { "vacuum": true }]));
    let error = case.refused(1);
    assert!(error.contains("a file of version 1 of the table is gone: it was deleted before it was read"), "{error}");
    assert!(error.contains("let `VACUUM` keep files for longer"), "{error}");
}
