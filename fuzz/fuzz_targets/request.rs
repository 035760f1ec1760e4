//! libFuzzer feeds [`meow_fuzz::requests::request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::requests::request(data);
});
