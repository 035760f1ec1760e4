//! libFuzzer feeds [`meow_fuzz::cards::kem_blob`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::cards::kem_blob(data);
});
