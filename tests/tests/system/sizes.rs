//! What is deployed is small.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use playhead_tests::artifact;

const KB: usize = 1000;

pub(crate) fn bundles_are_small() {
    let bundle = artifact::path("PLAYHEAD_WORKERS_BUNDLE").unwrap();
    let component = artifact::path("PLAYHEAD_SPIN_COMPONENT").unwrap();
    let workers = gzipped(&bundle.join("index.js")) + gzipped(&bundle.join("index_bg.wasm"));
    let spin = gzipped(&component);
    println!("gzipped: Workers {workers} bytes, Spin {spin} bytes");
    assert!(workers <= 250 * KB, "the Workers bundle has {workers} bytes gzipped");
    assert!(spin <= 400 * KB, "the Spin component has {spin} bytes gzipped");
}

fn gzipped(file: &Path) -> usize {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&fs::read(file).unwrap()).unwrap();
    gzip.finish().unwrap().len()
}
