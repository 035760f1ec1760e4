//! libFuzzer feeds [`meow_fuzz::text::endpoint`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::text::endpoint(data);
});
