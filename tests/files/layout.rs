//! Which objects are read, and how they are packed.

use serde_json::json;

use super::{Case, numbered, pack};

const IDS: &str = "format: json, schema: { id: bigint }";

#[test]
fn packed_objects_give_the_same_rows() {
    let case = Case::new("packed", "format: json, schema: { id: bigint, text: string }, add: { file: path }");
    let text = numbered(0..3_000, 200);
    let plain = case.folder.write("plain.json", &text).display().to_string();
    case.put("a.json", &text);
    for (name, how) in [("b.json.gz", "gzip"), ("c.json.zst", "zstd"), ("d.JSON.GZ", "gzip"), ("e.json.zstd", "zstd")] {
        pack(&plain, &case.folder.path("in").join(name).display().to_string(), how);
    }
    // Two packed files one after the other are a packed file.
    let member = std::fs::read(case.folder.path("in/b.json.gz")).unwrap();
    case.put("f.json.gz", [member.clone(), member].concat());
    let table = case.rows();
    let mut expected = Vec::new();
    for (name, times) in
        [("a.json", 1), ("b.json.gz", 1), ("c.json.zst", 1), ("d.JSON.GZ", 1), ("e.json.zstd", 1), ("f.json.gz", 2)]
    {
        for id in (0..3_000).flat_map(|id| std::iter::repeat_n(id, times)) {
            expected.push(vec![json!(case.url(name)), json!(id), json!(format!("{id:x>200}"))]);
        }
    }
    expected.sort_by_key(|row| serde_json::to_string(row).unwrap());
    assert!(table.select(&["file", "id", "text"]) == expected);
}

#[test]
fn folders_are_walked_and_hidden_names_left_out() {
    let case = Case::new("walk", "format: json, schema: { id: bigint }, add: { file: path }");
    let shown = ["z.json", "a/b/c/deep.json", "day=2026-03-01/x.json", "a b+ü%20#?&=.json", "without-extension"];
    for (id, name) in shown.iter().enumerate() {
        case.put(name, format!("{{\"id\":{id}}}\n"));
    }
    for name in
        ["_x.json", ".x.json", "_temporary/x.json", "a/.staging/b/x.json", "_delta_log/00000000000000000000.json"]
    {
        case.put(name, "{\"id\":-1}\n");
    }
    let table = case.rows();
    let mut expected: Vec<_> =
        shown.iter().enumerate().map(|(id, name)| vec![json!(id), json!(case.url(name))]).collect();
    expected.sort_by_key(|row| serde_json::to_string(row).unwrap());
    assert_eq!(table.select(&["id", "file"]), expected);
}

#[test]
fn the_url_may_name_one_object_even_a_hidden_one() {
    let case = Case::new("single", "format: json, schema: { id: bigint }");
    case.put("_one.json", "{\"id\":1}").put("two.json", "{\"id\":2}");
    case.call().env("IN", &case.folder.text("in/_one.json")).ok();
    assert_eq!(crate::support::read(&case.folder.text("lake/rows")).rows, [[json!(1)]]);
}

#[test]
fn ends_of_lines_and_files() {
    let case = Case::new("ends", IDS);
    case.put("empty.json", "")
        .put("no-end.json", "{\"id\":1}\n{\"id\":2}")
        .put("windows.json", "{\"id\":3}\r\n{\"id\":4}\r\n")
        .put("blank.json", "\n\n{\"id\":5}\n   \n\t\r\n{\"id\":6}\n\n")
        .put("marked.json", "\u{feff}{\"id\":7}\n")
        .put("only-marked.json", "\u{feff}")
        .put("spaces.json", "  {\"id\" : 8 } \n");
    assert_eq!(case.rows().rows, (1..=8).map(|id| vec![json!(id)]).collect::<Vec<_>>());
}

#[test]
fn a_folder_that_is_empty_is_no_fault_and_one_that_does_not_exist_is() {
    let case = Case::new("missing", IDS);
    let out = case.call().ok();
    assert!(out.contains("nothing new to process"), "{out}");
    std::fs::remove_dir(case.folder.path("in")).unwrap();
    let object = format!("object: {}", case.url("").trim_end_matches('/'));
    case.fault(&[
        "stage `objects` failed",
        "the folder does not exist",
        &object,
        "hint: relative paths start at the current directory",
    ]);
}

#[test]
fn damaged_packing_is_a_fault_that_names_the_object() {
    for (name, how) in [("b.json.gz", "gzip"), ("b.json.zst", "zstd")] {
        // Long enough that rows of the good part are on their way when the damage is found.
        let case = Case::new("damaged", "format: json, schema: { id: bigint, text: string }, on_bad_row: quarantine");
        let plain = case.folder.write("plain.json", &numbered(0..20_000, 100)).display().to_string();
        let packed = case.folder.path("in").join(name);
        pack(&plain, &packed.display().to_string(), how);
        let whole = std::fs::read(&packed).unwrap();
        let object = format!("object: {}", case.url(name));
        let says = [
            "stage `objects` failed at epoch 1",
            "the object cannot be read or unpacked to its end",
            object.as_str(),
            "hint: write the object again",
        ];
        for damage in [whole[..whole.len() * 3 / 4].to_vec(), whole[..20].to_vec(), [&whole[..], b"garbage"].concat()] {
            case.put("a.json", numbered(0..10, 10));
            std::fs::write(&packed, damage).unwrap();
            case.fault(&says);
            std::fs::remove_dir_all(case.folder.path("lake")).unwrap();
        }
        // Not packed at all.
        std::fs::write(&packed, numbered(0..10, 10)).unwrap();
        case.fault(&says);
    }
}
