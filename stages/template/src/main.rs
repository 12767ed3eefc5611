//! Alluvium with the stage of this crate: every command, every built-in kind, and `mask`.

fn main() -> std::process::ExitCode {
    alluvium::registry().with::<alluvium_template::Mask>().main()
}
