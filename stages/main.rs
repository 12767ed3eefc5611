//! The stock binary. Your own, with stages of your own, is as short: see `stages/template`.

fn main() -> std::process::ExitCode {
    alluvium::registry().main()
}
