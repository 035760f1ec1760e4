//! libFuzzer feeds [`meow_fuzz::ratchet::thin`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::ratchet::thin(data);
});
