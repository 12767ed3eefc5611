//! The stock binary. Your own, with stages of your own, is as short: see `stages/template`.

/// Large buffers come and go on many threads here; the system's allocator keeps what each of them has freed.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Half as many arenas as cores, not four times as many, since each has unused pages of its own; these go back after half
/// a second and not after ten. What a thread has freed it keeps for itself only up to 4 KiB: tasks and files have many threads.
#[allow(unsafe_code, reason = "jemalloc reads its options from a symbol of this name, and nothing else has it")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static OPTIONS: Option<&u8> = c"percpu_arena:phycpu,dirty_decay_ms:500,lg_tcache_max:12".to_bytes_with_nul().first();

fn main() -> std::process::ExitCode {
    alluvium::registry().main()
}
