#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = alys_fuzz::texts::run(bytes);
});
