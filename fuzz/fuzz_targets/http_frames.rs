//! libFuzzer feeds [`meow_fuzz::http::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::http::frames(data);
});
