//! libFuzzer feeds [`meow_fuzz::requests::signed_descriptor`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    meow_fuzz::requests::signed_descriptor(data);
});
