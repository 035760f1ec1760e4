//! libFuzzer feeds [`meow_fuzz::ratchet::messages`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::ratchet::messages(data);
});
