//! libFuzzer feeds [`meow_fuzz::http::response`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::http::response(data);
});
