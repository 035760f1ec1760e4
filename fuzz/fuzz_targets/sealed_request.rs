//! libFuzzer feeds [`meow_fuzz::requests::sealed_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::requests::sealed_request(data);
});
