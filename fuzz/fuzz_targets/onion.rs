//! libFuzzer feeds [`meow_fuzz::onion::onion`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::onion::onion(data);
});
