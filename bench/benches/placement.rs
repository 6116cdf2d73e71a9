//! What one placement costs, by criterion: `cargo bench -p echo-bench --features criterion --bench placement`

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use echo_bench::placement::Placer;

fn placement(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("placement");
    for nodes in [2, 10, 100, 1_000] {
        let mut placer = Placer::new(nodes).expect("the fleet's heartbeats can be read");
        group.bench_function(BenchmarkId::from_parameter(nodes), |bencher| {
            bencher.iter_custom(|placements| placer.time(placements).expect("every task is placed"));
        });
    }
    group.finish();
}

criterion_group!(benches, placement);
criterion_main!(benches);
