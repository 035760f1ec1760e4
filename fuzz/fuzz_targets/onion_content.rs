//! libFuzzer feeds [`meow_fuzz::onion::onion_content`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::onion::onion_content(data);
});
