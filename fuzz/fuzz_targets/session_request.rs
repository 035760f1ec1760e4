//! libFuzzer feeds [`meow_fuzz::sessions::request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::sessions::request(data);
});
