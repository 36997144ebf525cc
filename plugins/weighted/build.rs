//! The memory that a batch of a thousand tasks needs is there from the start: a call that has to grow it piece by piece takes half as long
//! again. Memory that is not written costs nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={}", 16 << 20);
    }
}
