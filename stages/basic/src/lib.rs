//! Stages without heavy dependencies; also the shortest examples of the stage contract.

mod blackhole;
mod generate;
mod print;

pub use blackhole::Blackhole;
pub use generate::Generate;
pub use print::Print;
