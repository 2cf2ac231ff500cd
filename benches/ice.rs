//! One ICE list, from a request to the bytes of its answer, without sockets: `cargo bench --bench ice`.
//!
//! The router is the one that is served, with all that is around its routes; what is not in it are hyper, the connection and the
//! kernel. Allocations are counted beside time.

#![expect(clippy::unwrap_used, reason = "a benchmark ends at its first surprise")]

use divan::Bencher;

#[path = "../tests/support/lists.rs"]
mod lists;

use lists::{Asker, Lists};

#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench(args = Asker::ALL)]
fn list(bencher: Bencher<'_, '_>, asker: Asker) {
    let lists = Lists::new(asker);
    // Whatever is made once is there.
    lists.list();
    bencher
        .with_inputs(|| lists.request())
        .bench_local_values(|request| lists.answer(request));
}
