#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bandolier_proving::fuzz("sequences", bytes));
